// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What ends a command early: a text for the user, with place, rule, value and cure where there are any.

use hdl_gen::config::ConfigErrors;
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;

/// Why a command could not be done.
#[derive(Debug)]
pub enum Failure {
    /// A file or folder could not be read or written.
    File {
        doing: &'static str,
        path: String,
        reason: String,
    },
    Config(ConfigErrors),
    /// Anything else, said by the part that found it.
    Other(String),
}

impl Failure {
    /// A failed file operation; `doing` completes "cannot ...".
    pub fn file(doing: &'static str, path: &Path, error: impl fmt::Display) -> Failure {
        Failure::File { doing, path: path.display().to_string(), reason: error.to_string() }
    }

    /// An error of another crate.
    pub fn other(error: impl fmt::Display) -> Failure {
        Failure::Other(error.to_string())
    }

    /// The text as the terminal gets it: in colour if standard error is one.
    pub fn text(&self) -> String {
        match self {
            Failure::Config(errors) => errors.render(std::io::stderr().is_terminal()),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::File { doing, path, reason } => write!(f, "error: cannot {doing} {path}: {reason}"),
            Failure::Config(errors) => write!(f, "{errors}"),
            Failure::Other(text) => write!(f, "error: {text}"),
        }
    }
}
impl std::error::Error for Failure {}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Failure::Config(errors)
    }
}
