//! SCRAM credentials given when a directory is formatted: `SCRAM-SHA-256=[name=alice,password=secret]`.
//!
//! What is stored is derived from the password as RFC 5802 says; the password itself is not kept.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use ottla_wire::records::UserScramCredentialRecord;
use sha2::{Digest, Sha256, Sha512};
use thiserror::Error;

/// Why an argument of `--add-scram` is not accepted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScramError {
    #[error("Failed to find equals sign in SCRAM argument '{0}'")]
    NoEqualsSign(String),
    #[error("The add-scram mechanism {0} is not supported.")]
    Mechanism(String),
    #[error("Expected configuration string to {0}")]
    Brackets(&'static str),
    #[error("No equals sign found in SCRAM component: {0}")]
    Component(String),
    #[error("You must supply {0} to add-scram")]
    Missing(&'static str),
    #[error("Failed to decode given {what}: {text}")]
    Base64 { what: &'static str, text: String },
    #[error("Failed to parse iterations count: {0}")]
    Iterations(String),
    #[error("The 'iterations' value must be {relation} {bound} for add-scram using {mechanism}")]
    IterationsBound { relation: &'static str, bound: i32, mechanism: &'static str },
    #[error("Unknown SCRAM configurations: {0}")]
    Unknown(String),
}

const ITERATIONS_MIN: i32 = 4096;
const ITERATIONS_MAX: i32 = 16384;

#[derive(Clone, Copy)]
enum Mechanism {
    Sha256,
    Sha512,
}

impl Mechanism {
    fn of_name(name: &str) -> Option<Mechanism> {
        match name {
            "SCRAM-SHA-256" => Some(Mechanism::Sha256),
            "SCRAM-SHA-512" => Some(Mechanism::Sha512),
            _ => None,
        }
    }

    /// As the record numbers them.
    fn id(self) -> i8 {
        match self {
            Mechanism::Sha256 => 1,
            Mechanism::Sha512 => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mechanism::Sha256 => "SCRAM_SHA_256",
            Mechanism::Sha512 => "SCRAM_SHA_512",
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Mechanism::Sha256 => Sha256::digest(data).to_vec(),
            Mechanism::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        // A key of any length is accepted.
        match self {
            Mechanism::Sha256 => Hmac::<Sha256>::new_from_slice(key)
                .map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec()),
            Mechanism::Sha512 => Hmac::<Sha512>::new_from_slice(key)
                .map(|mac| mac.chain_update(data).finalize().into_bytes().to_vec()),
        }
        .unwrap_or_default()
    }

    fn salted_password(self, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
        let password = password.as_bytes();
        match self {
            Mechanism::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec(),
            Mechanism::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec(),
        }
    }
}

/// The credential that an argument describes. `random_salt` is its salt if the argument has none.
pub fn scram_credential(argument: &str, random_salt: &[u8]) -> Result<UserScramCredentialRecord, ScramError> {
    let argument = argument.trim();
    let (mechanism, settings) =
        argument.split_once('=').ok_or_else(|| ScramError::NoEqualsSign(argument.to_owned()))?;
    let mechanism =
        Mechanism::of_name(mechanism).ok_or_else(|| ScramError::Mechanism(mechanism.to_owned()))?;
    let settings = settings.strip_prefix('[').ok_or(ScramError::Brackets("start with ["))?;
    let settings = settings.strip_suffix(']').ok_or(ScramError::Brackets("end with ]"))?;
    let mut components = components(settings)?;
    let name = components.remove("name").ok_or(ScramError::Missing("'name'"))?;
    let salt = components.remove("salt").map(|text| decoded("salt", &text)).transpose()?;
    let iterations = components.remove("iterations").map(|text| parse_iterations(&text)).transpose()?;
    let password = components.remove("password");
    let salted_password = components.remove("saltedpassword");
    if password.is_none() && salted_password.is_none() {
        return Err(ScramError::Missing("one of 'password' or 'saltedpassword'"));
    }
    if password.is_none() && salt.is_none() {
        return Err(ScramError::Missing("'salt' with 'saltedpassword'"));
    }
    if !components.is_empty() {
        let names: Vec<_> = components.into_keys().collect();
        return Err(ScramError::Unknown(names.join(", ")));
    }
    let iterations = iterations.unwrap_or(ITERATIONS_MIN);
    check_iterations(iterations, mechanism)?;
    let salt = salt.unwrap_or_else(|| random_salt.to_vec());
    let salted = match (password, salted_password) {
        (Some(password), _) => mechanism.salted_password(&password, &salt, iterations.unsigned_abs()),
        (None, salted) => decoded("saltedPassword", &salted.unwrap_or_default())?,
    };
    let client_key = mechanism.hmac(&salted, b"Client Key");
    Ok(UserScramCredentialRecord {
        name,
        mechanism: mechanism.id(),
        salt: salt.into(),
        stored_key: mechanism.hash(&client_key).into(),
        server_key: mechanism.hmac(&salted, b"Server Key").into(),
        iterations,
        ..Default::default()
    })
}

fn components(text: &str) -> Result<BTreeMap<String, String>, ScramError> {
    let pair = |component: &str| {
        let (key, value) =
            component.split_once('=').ok_or_else(|| ScramError::Component(component.to_owned()))?;
        let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        Ok((key.to_owned(), quoted.unwrap_or(value).to_owned()))
    };
    text.split(',').map(|component| pair(component.trim())).collect()
}

fn parse_iterations(text: &str) -> Result<i32, ScramError> {
    text.parse().map_err(|_| ScramError::Iterations(text.to_owned()))
}

fn check_iterations(iterations: i32, mechanism: Mechanism) -> Result<(), ScramError> {
    let outside =
        |relation, bound| ScramError::IterationsBound { relation, bound, mechanism: mechanism.name() };
    if iterations < ITERATIONS_MIN {
        Err(outside(">=", ITERATIONS_MIN))
    } else if iterations > ITERATIONS_MAX {
        Err(outside("<=", ITERATIONS_MAX))
    } else {
        Ok(())
    }
}

fn decoded(what: &'static str, text: &str) -> Result<Vec<u8>, ScramError> {
    STANDARD.decode(text).map_err(|_| ScramError::Base64 { what, text: text.to_owned() })
}
