//! Second factors and sessions in the console.

use audit::Act;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Role, tables::CODE_GENERATOR_BY_USER};
use store::{Read as _, StoreError};

use super::house::{House, PASSWORD};
use super::passkeys::{Authenticator, ORIGIN, site};
use crate::{
    ConsoleError, ConsoleLogin, ConsoleSession, Enrolled, Factor, LoginError, PasskeyError, Proof,
    SealingKey, second_factors,
};

impl House {
    /// Somebody with a role.
    async fn clerk(&self, name: &str) -> crate::Session {
        let session = self.person(name, "PHONE").await;
        let change = |roles: model::Roles| roles.with(Role::Helpdesk);
        let act = Act::operator();
        let changed = self.accounts.change_roles(&act, session.user, change);
        changed.await.unwrap();
        session
    }

    async fn arrive(&self, name: &str) -> Result<ConsoleSession, ConsoleError> {
        let token = self
            .accounts
            .open_console(console_login(name, PASSWORD))
            .await?;
        Ok(self.at_desk(&token).await.unwrap())
    }

    /// The session behind a token. That it was used is written without waiting for the disk, and
    /// is seen once something else was.
    async fn at_desk(&self, token: &str) -> Option<ConsoleSession> {
        let session = self.accounts.console_session(token, true).await.unwrap();
        let settled = self
            .accounts
            .store()
            .commit(|_, _, _| Ok::<_, StoreError>(()));
        settled.await.unwrap();
        session
    }

    /// The code of a new secret that is shown now.
    fn first_code(&self, by: &ConsoleSession) -> String {
        let new = self.accounts.new_codes(by);
        code(&new.secret, self.clock.now().0)
    }

    async fn enrol(&self, by: &ConsoleSession) -> Enrolled {
        let code = self.first_code(by);
        let (act, password) = (Act::operator(), PASSWORD.to_owned());
        let added = self.accounts.add_codes(&act, by, password, &code);
        added.await.unwrap()
    }
}

fn console_login(user: &str, password: &str) -> ConsoleLogin {
    ConsoleLogin {
        user: user.to_owned(),
        password: password.to_owned(),
        from: Some("192.0.2.1".to_owned()),
        user_agent: None,
    }
}

/// The code that an app shows for a secret of base32.
fn code(secret: &str, now: u64) -> String {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = secret
        .chars()
        .map(|letter| format!("{:05b}", LETTERS.find(letter).unwrap()))
        .collect();
    let bytes: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|bits| u8::from_str_radix(str::from_utf8(bits).unwrap(), 2).unwrap())
        .collect();
    let mut hmac = Hmac::<sha1::Sha1>::new_from_slice(&bytes).unwrap();
    hmac.update(&(now / 30_000).to_be_bytes());
    let hash = hmac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let four: [u8; 4] = hash[offset..offset + 4].try_into().unwrap();
    format!(
        "{:06}",
        (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000
    )
}

#[tokio::test]
async fn a_session_opens_nothing_before_the_second_factor() {
    let house = House::open();
    let clerk = house.clerk("anna").await;
    house.person("ben", "PHONE").await;
    let wrong = house
        .accounts
        .open_console(console_login("anna", "wrong"))
        .await;
    assert!(matches!(
        wrong,
        Err(ConsoleError::Login(LoginError::Forbidden))
    ));
    let nobody = house.arrive("ben").await;
    assert!(matches!(nobody, Err(ConsoleError::NoRole)));

    let arrived = house.arrive("anna").await.unwrap();
    assert!(!arrived.is_raised && arrived.session.lacks_second_factor);
    assert!(house.accounts.must_enrol(&arrived).await.unwrap());
    let enrolled = house.enrol(&arrived).await;
    assert_eq!(enrolled.recovery_codes.len(), 10);
    let raised = house.at_desk(&enrolled.token).await.unwrap();
    assert!(raised.is_raised && !raised.session.lacks_second_factor);

    // Of the next session the token of before the code opens nothing after it.
    let before = house
        .accounts
        .open_console(console_login("anna", PASSWORD))
        .await
        .unwrap();
    let arrived = house.at_desk(&before).await.unwrap();
    assert!(!arrived.is_raised);
    let act = Act::person("@anna:a.test", None);
    let proof = |text: &str| Proof::Code(text.to_owned());
    let used = house
        .accounts
        .raise_console(&act, &arrived, proof(&enrolled.recovery_codes[0]));
    let token = used.await.unwrap();
    assert!(house.at_desk(&before).await.is_none());
    assert!(house.at_desk(&token).await.unwrap().is_raised);
    // A recovery code counts once.
    let arrived = house.arrive("anna").await.unwrap();
    let again = house
        .accounts
        .raise_console(&act, &arrived, proof(&enrolled.recovery_codes[0]))
        .await;
    assert!(matches!(again, Err(ConsoleError::Code)));
    let typed = enrolled.recovery_codes[1].to_uppercase().replace('-', " ");
    house
        .accounts
        .raise_console(&act, &arrived, proof(&typed))
        .await
        .unwrap();

    // Roles count at each use.
    house
        .accounts
        .change_roles(&act, clerk.user, |_| model::Roles::NONE)
        .await
        .unwrap();
    assert!(house.at_desk(&token).await.is_none());
}

#[tokio::test]
async fn a_code_is_used_once_and_wrong_ones_are_few() {
    let house = House::open();
    house.clerk("anna").await;
    let arrived = house.arrive("anna").await.unwrap();
    let new = house.accounts.new_codes(&arrived);
    assert_eq!(house.accounts.new_codes(&arrived).secret, new.secret);
    let act = Act::operator();
    let first = house.first_code(&arrived);
    let wrong = house
        .accounts
        .add_codes(&act, &arrived, "wrong".to_owned(), &first)
        .await;
    assert!(matches!(
        wrong,
        Err(ConsoleError::Login(LoginError::Forbidden))
    ));
    house.enrol(&arrived).await;
    let raise = async |text: &str| {
        let arrived = house.arrive("anna").await.unwrap();
        let proof = Proof::Code(text.to_owned());
        house.accounts.raise_console(&act, &arrived, proof).await
    };
    // That of the enrolment was used.
    assert!(matches!(raise(&first).await, Err(ConsoleError::Code)));
    house.clock.advance(30_000);
    let next = code(&new.secret, house.clock.now().0);
    raise(&next).await.unwrap();
    assert!(matches!(raise(&next).await, Err(ConsoleError::Code)));
    for _ in 0..4 {
        assert!(matches!(raise("000000").await, Err(ConsoleError::Code)));
    }
    house.clock.advance(60_000);
    let good = code(&new.secret, house.clock.now().0);
    assert!(matches!(
        raise(&good).await,
        Err(ConsoleError::TooManyTries { .. })
    ));
    house.clock.advance(15 * 60_000);
    let good = code(&new.secret, house.clock.now().0);
    raise(&good).await.unwrap();
}

#[tokio::test]
async fn sessions_end_unused_and_at_most_after_some_hours() {
    let house = House::open();
    house.clerk("anna").await;
    let arrived = house.arrive("anna").await.unwrap();
    let enrolled = house.enrol(&arrived).await;
    let token = enrolled.token;
    house.clock.advance(14 * 60_000);
    assert!(house.at_desk(&token).await.is_some());
    house.clock.advance(14 * 60_000);
    // A page that looks by itself is no use.
    let looked = house.accounts.console_session(&token, false).await.unwrap();
    assert!(looked.is_some());
    house.clock.advance(60_000);
    assert!(house.at_desk(&token).await.is_none());

    let arrived = house.arrive("anna").await.unwrap();
    let new = house.accounts.own_factors(&arrived).await.unwrap();
    assert_eq!(new.recovery_codes, 10);
    let act = Act::operator();
    let password = PASSWORD.to_owned();
    let renewed = house
        .accounts
        .renew_recovery_codes(&act, &arrived, password)
        .await;
    assert!(
        matches!(renewed, Err(ConsoleError::Ended)),
        "it has no second factor"
    );
    let proof = Proof::Code(enrolled.recovery_codes[0].clone());
    let token = house
        .accounts
        .raise_console(&act, &arrived, proof)
        .await
        .unwrap();
    for _ in 0..47 {
        assert!(house.at_desk(&token).await.is_some());
        house.clock.advance(10 * 60_000);
    }
    assert!(house.at_desk(&token).await.is_some());
    house.clock.advance(10 * 60_000);
    assert!(house.at_desk(&token).await.is_none());
}

#[tokio::test]
async fn another_password_and_a_reset_end_all_sessions() {
    let house = House::open();
    let clerk = house.clerk("anna").await;
    let arrived = house.arrive("anna").await.unwrap();
    let token = house.enrol(&arrived).await.token;
    let raised = house.at_desk(&token).await.unwrap();
    let act = Act::operator();
    let program = house
        .accounts
        .make_program_token(&act, clerk.user, "synadm", 30);
    let program = program.await.unwrap();
    let listed = house.accounts.console_sessions(&raised).await.unwrap();
    assert!(listed.len() == 1 && listed[0].is_this);
    house
        .accounts
        .reset_factors(&act, clerk.user)
        .await
        .unwrap();
    assert!(house.at_desk(&token).await.is_none());
    assert!(house.accounts.authenticate(&program).await.is_err());
    let again = house.accounts.reset_factors(&act, clerk.user).await;
    assert!(matches!(again, Err(ConsoleError::NotFound)));

    let arrived = house.arrive("anna").await.unwrap();
    let token = house.enrol(&arrived).await.token;
    house
        .accounts
        .reset_password(&act, clerk.user, "another one".to_owned())
        .await
        .unwrap();
    assert!(house.at_desk(&token).await.is_none());
}

#[tokio::test]
async fn roles_of_who_has_a_second_factor_count_where_it_was_given() {
    let house = House::open();
    let clerk = house.clerk("anna").await;
    let signed_in = house.login("anna", "LAPTOP", PASSWORD).await.unwrap();
    assert!(!house.session(&signed_in).await.lacks_second_factor);
    let arrived = house.arrive("anna").await.unwrap();
    house.enrol(&arrived).await;
    // At once, also for a session that is in memory.
    assert!(house.session(&signed_in).await.lacks_second_factor);
    let act = Act::operator();
    let made = house
        .accounts
        .make_program_token(&act, clerk.user, "synadm", 2);
    let token = made.await.unwrap();
    let session = house.accounts.authenticate(&token).await.unwrap();
    assert!(!session.lacks_second_factor);
    let listed = house.accounts.program_tokens(clerk.user).await.unwrap();
    assert_eq!(listed[0].record.name, "synadm");
    // Somebody who signs in as the program's device with a password has not given one.
    let device = session.device_id.as_str();
    let taken = house.login("anna", device, PASSWORD).await.unwrap();
    assert!(house.session(&taken).await.lacks_second_factor);
    assert!(house.accounts.authenticate(&token).await.is_err());
    assert!(
        house
            .accounts
            .program_tokens(clerk.user)
            .await
            .unwrap()
            .is_empty()
    );

    let made = house
        .accounts
        .make_program_token(&act, clerk.user, "script", 2);
    let token = made.await.unwrap();
    house.clock.advance(2 * 24 * 60 * 60 * 1_000);
    assert!(house.accounts.authenticate(&token).await.is_err());
    let nobody = house.person("ben", "PHONE").await;
    let made = house
        .accounts
        .make_program_token(&act, nobody.user, "script", 2)
        .await;
    assert!(matches!(made, Err(ConsoleError::NoRole)));
}

#[tokio::test]
async fn passkeys_are_added_used_and_removed() {
    let house = House::open();
    house.clerk("anna").await;
    let arrived = house.arrive("anna").await.unwrap();
    let mut authenticator = Authenticator::es256();
    let act = Act::operator();
    let add = async |by: &ConsoleSession, authenticator: &Authenticator, name: &str| {
        let asked = house.accounts.ask_passkey(by, true).await.unwrap();
        let made = authenticator.make(&asked.challenge);
        let password = PASSWORD.to_owned();
        house
            .accounts
            .add_passkey(&act, by, password, name, (made, site()))
            .await
    };
    let enrolled = add(&arrived, &authenticator, "key ring").await.unwrap();
    let raised = house.at_desk(&enrolled.token).await.unwrap();
    let again = add(&raised, &authenticator, "the same").await;
    assert!(matches!(again, Err(ConsoleError::Known)));
    // Nobody adds one who has given the password alone.
    let arrived = house.arrive("anna").await.unwrap();
    let other = add(&arrived, &Authenticator::eddsa(), "thief").await;
    assert!(matches!(other, Err(ConsoleError::Ended)));

    let asked = house.accounts.ask_passkey(&arrived, false).await.unwrap();
    assert_eq!(asked.known, [authenticator.id()]);
    authenticator.count = 2;
    let answer = authenticator.answer(&asked.challenge, ORIGIN);
    let proof = || Proof::Passkey(Box::new(answer.clone()), site());
    let token = house
        .accounts
        .raise_console(&act, &arrived, proof())
        .await
        .unwrap();
    // The same answer counts for no other question.
    let next = house.arrive("anna").await.unwrap();
    let replayed = house.accounts.raise_console(&act, &next, proof()).await;
    assert!(matches!(replayed, Err(ConsoleError::TooLate)));
    house.accounts.ask_passkey(&next, false).await.unwrap();
    let replayed = house.accounts.raise_console(&act, &next, proof()).await;
    assert!(matches!(
        replayed,
        Err(ConsoleError::Passkey(PasskeyError::OtherQuestion))
    ));

    let raised = house.at_desk(&token).await.unwrap();
    let remove = async |factor| {
        let password = PASSWORD.to_owned();
        house
            .accounts
            .remove_factor(&act, &raised, password, factor)
            .await
    };
    let id = Factor::Passkey(authenticator.id());
    assert!(matches!(
        remove(id.clone()).await,
        Err(ConsoleError::LastFactor)
    ));
    assert!(matches!(
        remove(Factor::Codes).await,
        Err(ConsoleError::NotFound)
    ));
    let enrolled = house.enrol(&raised).await;
    assert!(enrolled.recovery_codes.is_empty(), "there were some");
    remove(id).await.unwrap();
    assert!(matches!(
        remove(Factor::Codes).await,
        Err(ConsoleError::LastFactor)
    ));
}

#[tokio::test]
async fn secrets_are_sealed_and_survive_another_key() {
    let house = House::open();
    let clerk = house.clerk("anna").await;
    house.accounts.seal_with(SealingKey::new([1; 32]));
    let arrived = house.arrive("anna").await.unwrap();
    let new = house.accounts.new_codes(&arrived);
    house.enrol(&arrived).await;
    let stored = house.accounts.store().snapshot();
    let record = stored
        .get(&CODE_GENERATOR_BY_USER, &clerk.user)
        .unwrap()
        .unwrap();
    let sealed = STANDARD.encode(record.sealed.concat());
    assert!(!sealed.contains(&new.secret[..8]) && record.sealed[0].len() > 40);
    drop(stored);
    let raise = async || {
        house.clock.advance(30_000);
        let arrived = house.arrive("anna").await.unwrap();
        let proof = Proof::Code(code(&new.secret, house.clock.now().0));
        house
            .accounts
            .raise_console(&Act::operator(), &arrived, proof)
            .await
    };
    raise().await.unwrap();
    house
        .accounts
        .seal_also_with(SealingKey::new([2; 32]))
        .await
        .unwrap();
    raise().await.unwrap();
    house.accounts.seal_with(SealingKey::new([2; 32]));
    raise().await.unwrap();
    house.accounts.seal_with(SealingKey::new([3; 32]));
    assert!(matches!(raise().await, Err(ConsoleError::Sealed)));
    let view = house.accounts.store().snapshot();
    assert!(
        second_factors(&view, clerk.user)
            .unwrap()
            .codes_since
            .is_some()
    );
}
