//! One connection to a broker, with one request at a time.

use bytes::{Buf, BytesMut};
use ottla_wire::{ErrorCode, FRAME_LENGTH_BYTES, Request, decode_response, encode_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;

const READ_BYTES: usize = 4 << 10;

#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: BytesMut,
    correlation_id: i32,
}

impl Client {
    pub async fn connect(address: &str) -> Outcome<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, input: BytesMut::new(), correlation_id: 0 })
    }

    /// Several connections.
    pub async fn connect_all(address: &str, count: usize) -> Outcome<Vec<Client>> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(Client::connect(address).await?);
        }
        Ok(clients)
    }

    /// Sends a request and waits for its answer.
    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> Outcome<R::Response> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = encode_request(self.correlation_id, Some("load"), request, version)?;
        self.stream.write_all(&frame.bytes).await?;
        let (header, response) = decode_response::<R::Response>(self.frame().await?, version)?;
        if header.correlation_id != self.correlation_id {
            return Err(format!("{} was answered with what belongs to another request", R::NAME).into());
        }
        Ok(response)
    }

    /// The next frame, without its length.
    async fn frame(&mut self) -> Outcome<bytes::Bytes> {
        loop {
            if let Some(length) = self.input.first_chunk::<FRAME_LENGTH_BYTES>() {
                let length = usize::try_from(i32::from_be_bytes(*length))?;
                if self.input.len() >= FRAME_LENGTH_BYTES + length {
                    self.input.advance(FRAME_LENGTH_BYTES);
                    return Ok(self.input.split_to(length).freeze());
                }
                self.input.reserve(FRAME_LENGTH_BYTES + length - self.input.len());
            } else {
                self.input.reserve(READ_BYTES);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err("the broker has closed a connection".into());
            }
        }
    }
}

/// The error that a number stands for, `None` for 0.
pub fn error_of(code: i16) -> Option<ErrorCode> {
    Some(ErrorCode::from_answer(code)).filter(|code| code.is_error())
}

/// Fails on any error.
pub fn check(what: &str, code: i16) -> Outcome<()> {
    match error_of(code) {
        Some(error) => Err(format!("{what}: {error}").into()),
        None => Ok(()),
    }
}
