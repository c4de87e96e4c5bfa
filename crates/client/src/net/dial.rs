//! Opening a connection: the socket, and what the broker serves (KIP-511). Authentication has its place in between.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use ottla_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use ottla_wire::{ApiKey, ErrorCode, FRAME_LENGTH_BYTES, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::link::Ended;
use super::pool::Address;
use super::transport::{Connector, SocketBuffers, Stream, connect_tcp};
use super::versions::ServedVersions;

/// What a broker answers to ApiVersions.
const VERSIONS_BYTES_MAX: usize = 1024 * 1024;

/// How connections are opened.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub client_id: Arc<str>,
    pub buffers: SocketBuffers,
    /// In place of plain TCP.
    pub connector: Option<Arc<dyn Connector>>,
}

/// A connection whose other side has told what it serves.
pub(crate) struct Dialed {
    pub stream: Stream,
    pub served: ServedVersions,
    /// What has been read already of answers that nobody has asked for yet: empty, if the broker keeps to the protocol.
    pub input: BytesMut,
}

impl Dialer {
    pub async fn dial(&self, to: &Address) -> Result<Dialed, Ended> {
        let stream = match &self.connector {
            Some(connector) => connector.connect(&to.host, to.port).await?,
            None => connect_tcp(&to.host, to.port, self.buffers).await?,
        };
        let mut dialed = Dialed { stream, served: ServedVersions::default(), input: BytesMut::new() };
        dialed.served = self.learn_versions(&mut dialed).await?;
        Ok(dialed)
    }

    /// Asks what the broker serves. One that is older answers with which version of this request it knows.
    async fn learn_versions(&self, dialed: &mut Dialed) -> Result<ServedVersions, Ended> {
        const UNSUPPORTED: i16 = ErrorCode::UnsupportedVersion.code();
        let mut version = ApiKey::ApiVersions.facts().broker_versions.map_or(0, |versions| versions.max);
        loop {
            let answer = self.ask_versions(dialed, version).await?;
            let is_refused = answer.get(4..6).is_some_and(|code| code == UNSUPPORTED.to_be_bytes());
            let read_as = if is_refused { 0 } else { version };
            let (_, answer) = decode_response::<ApiVersionsResponse>(answer, read_as)
                .map_err(|error| Ended::Protocol(format!("ApiVersions can't be read: {error}").into()))?;
            let served = ServedVersions::of(&answer);
            if is_refused && version > 0 {
                let known = served.of_api(ApiKey::ApiVersions).map_or(0, |range| range.max);
                version = known.clamp(0, version - 1);
                continue;
            }
            if answer.error_code != 0 {
                return Err(Ended::Protocol(
                    format!("ApiVersions was refused: {}", answer.error_code).into(),
                ));
            }
            return Ok(served);
        }
    }

    async fn ask_versions(&self, dialed: &mut Dialed, version: i16) -> Result<Bytes, Ended> {
        const CORRELATION_ID: i32 = 0;
        let request = ApiVersionsRequest {
            client_software_name: "ottla-client".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..ApiVersionsRequest::default()
        };
        let frame = encode_request(CORRELATION_ID, Some(&self.client_id), &request, version)
            .map_err(|error| Ended::Protocol(error.to_string().into()))?;
        dialed.stream.writer.write_all(&frame.bytes).await?;
        dialed.stream.writer.flush().await?;
        loop {
            if let Some(answer) = take_frame(&mut dialed.input, VERSIONS_BYTES_MAX)? {
                check_correlation(&answer, CORRELATION_ID)?;
                return Ok(answer);
            }
            if dialed.stream.reader.read_buf(&mut dialed.input).await? == 0 {
                return Err(Ended::Closed);
            }
        }
    }
}

/// The next frame without its length, if all of it is there.
pub(super) fn take_frame(input: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, Ended> {
    let Some(length) = input.first_chunk().copied().map(i32::from_be_bytes) else { return Ok(None) };
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes_max).ok_or_else(|| {
        Ended::Protocol(format!("an answer of {length} bytes was announced; {bytes_max} are allowed").into())
    })?;
    if input.len() < FRAME_LENGTH_BYTES + length {
        return Ok(None);
    }
    input.advance(FRAME_LENGTH_BYTES);
    Ok(Some(input.split_to(length).freeze()))
}

pub(super) fn check_correlation(frame: &[u8], expected: i32) -> Result<(), Ended> {
    match frame.first_chunk().copied().map(i32::from_be_bytes) {
        Some(found) if found == expected => Ok(()),
        found => {
            Err(Ended::Protocol(format!("an answer to {found:?} where that to {expected} was due").into()))
        }
    }
}
