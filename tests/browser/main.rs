//! The pages as people see them: in headless Chromium, on a phone's screen.
//! `.ci/install-dependencies test` installs the browser.
//!
//! Each test leaves its screenshots in the target folder's `tmp/pages`.

mod axe;
mod checks;
mod console;
mod driver;
mod joining;
mod landing;
mod paper;
mod printing;
