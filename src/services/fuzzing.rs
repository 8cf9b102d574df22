//! What the fuzz targets of `../../tests/fuzz` call: what is made of bytes from outside, and
//! what must hold of it. There in tests and in fuzzing only.

use crate::{Registration, yaml};

/// A registration file.
pub fn registration(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let _ = yaml::parse(text);
    match Registration::parse(text) {
        Ok(registration) => assert!(!registration.id.is_empty()),
        Err(error) => {
            // YAML takes a carriage return alone as the end of a line too.
            let ends = text.matches(['\n', '\r']).count();
            assert!(error.line <= ends + 2, "{error:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::seeds::each;

    #[test]
    fn seeds() {
        each("registration", super::registration);
    }
}
