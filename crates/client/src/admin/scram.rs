//! SCRAM credentials of users (KIP-554). Passwords don't leave this side: what is sent is derived from them as RFC 5802 says.

use bytes::Bytes;
use hmac::Hmac;
use ottla_wire::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
    alter_user_scram_credentials_request, describe_user_scram_credentials_request,
};
use sha2::{Sha256, Sha512};

use super::{Admin, Results, check};
use crate::client::Target;
use crate::error::ClientError;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    Sha256 = 1,
    Sha512 = 2,
}

impl ScramMechanism {
    /// The protocol's name.
    pub fn name(self) -> &'static str {
        match self {
            ScramMechanism::Sha256 => "SCRAM-SHA-256",
            ScramMechanism::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub fn of_name(name: &str) -> Option<ScramMechanism> {
        [ScramMechanism::Sha256, ScramMechanism::Sha512].into_iter().find(|of| of.name() == name)
    }

    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Bytes {
        // The output has the hash's own length, which is never wrong.
        match self {
            ScramMechanism::Sha256 => {
                let mut out = [0; 32];
                let _ = pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, iterations, &mut out);
                Bytes::copy_from_slice(&out)
            }
            ScramMechanism::Sha512 => {
                let mut out = [0; 64];
                let _ = pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, iterations, &mut out);
                Bytes::copy_from_slice(&out)
            }
        }
    }
}

/// A change of a user's credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScramChange {
    Set { mechanism: ScramMechanism, iterations: u32, password: String },
    Delete(ScramMechanism),
}

/// Bytes of salt.
const SALT_LEN: usize = 16;

impl Admin {
    /// Mechanisms and iterations of users, or of all.
    pub async fn describe_scram_credentials(
        &self,
        users: Option<&[String]>,
    ) -> Result<Results<String, Vec<(ScramMechanism, i32)>>, ClientError> {
        let user = |name: &String| describe_user_scram_credentials_request::User {
            name: name.clone(),
            ..Default::default()
        };
        let request = DescribeUserScramCredentialsRequest {
            users: users.map(|users| users.iter().map(user).collect()),
            ..Default::default()
        };
        let answer = self.ask(Target::AnyNode, &request, |answer| answer.error_code).await?;
        check(answer.error_code, answer.error_message, || "describing credentials".to_owned())?;
        let results = answer.results.into_iter().map(|result| {
            let infos = result.credential_infos.iter().filter_map(|info| {
                let mechanism = match info.mechanism {
                    1 => ScramMechanism::Sha256,
                    2 => ScramMechanism::Sha512,
                    _ => return None,
                };
                Some((mechanism, info.iterations))
            });
            let infos = infos.collect();
            let what = || format!("describing credentials of {}", result.user);
            let checked = check(result.error_code, result.error_message, what);
            (result.user, checked.map(|()| infos))
        });
        Ok(results.collect())
    }

    /// Changes credentials of one user.
    pub async fn alter_scram_credentials(
        &self,
        user: &str,
        changes: &[ScramChange],
    ) -> Result<(), ClientError> {
        let mut request = AlterUserScramCredentialsRequest::default();
        for change in changes {
            match change {
                ScramChange::Delete(mechanism) => {
                    request.deletions.push(alter_user_scram_credentials_request::Deletion {
                        name: user.to_owned(),
                        mechanism: *mechanism as i8,
                        ..Default::default()
                    });
                }
                ScramChange::Set { mechanism, iterations, password } => {
                    let salt: [u8; SALT_LEN] = rand::random();
                    request.upsertions.push(alter_user_scram_credentials_request::Upsertion {
                        name: user.to_owned(),
                        mechanism: *mechanism as i8,
                        iterations: i32::try_from(*iterations).unwrap_or(i32::MAX),
                        salted_password: mechanism.salted(password.as_bytes(), &salt, *iterations),
                        salt: Bytes::copy_from_slice(&salt),
                        ..Default::default()
                    });
                }
            }
        }
        let code = |answer: &ottla_wire::messages::AlterUserScramCredentialsResponse| {
            answer.results.first().map_or(0, |result| result.error_code)
        };
        let answer = self.ask(Target::Controller, &request, code).await?;
        match answer.results.into_iter().find(|result| result.error_code != 0) {
            Some(failed) => {
                check(failed.error_code, failed.error_message, || format!("changing credentials of {user}"))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677 section 3: what its example derives from `pencil` has this as salted password.
    #[test]
    fn passwords_are_salted_as_the_rfc_says() {
        let salt = [91, 109, 153, 104, 157, 18, 53, 142, 236, 160, 75, 20, 18, 54, 250, 129];
        let salted = ScramMechanism::Sha256.salted(b"pencil", &salt, 4096);
        let hex: String = salted.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d");
        assert_eq!(ScramMechanism::Sha512.salted(b"pencil", &salt, 4096).len(), 64);
    }
}
