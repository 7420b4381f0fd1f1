//! What may arrive inside a WebSocket, before it is buffered.
//!
//! The library below reads a message whole, and as a client would take 256 MiB
//! of it from whoever answers, long before Noise has said who that is. A
//! [`Guarded`] stream lies between it and the socket, follows the frame headers
//! (RFC 6455 §5.2) of what is received and ends the stream at a message longer
//! than [`MESSAGE_BYTES`]. It changes nothing and buffers nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

/// Longest message; Noise makes frames of at most 64 KiB, and writes few at once.
const MESSAGE_BYTES: u64 = 256 << 10;
/// Longest head of request or answer.
const HEAD_BYTES: usize = 8 << 10;

/// A stream that ends when too much is about to come.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    watch: Watch,
}

impl<S> Guarded<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, watch: Watch::new() }
    }
}

/// Where in the received bytes we are.
#[derive(Debug)]
enum At {
    /// In the HTTP head: bytes seen, and how many of its last ones are the beginning of `\r\n\r\n`.
    Head(usize, usize),
    /// In a frame's header: its first bytes.
    Header([u8; 10], usize),
    /// In a frame's mask and payload: bytes to come.
    Payload(u64),
}

#[derive(Debug)]
struct Watch {
    at: At,
    /// Bytes of the message so far.
    message: u64,
}

impl Watch {
    const fn new() -> Self {
        Self { at: At::Head(0, 0), message: 0 }
    }

    /// Follows received bytes. `false` if something is too long.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Head(seen, matched) => {
                    bytes = rest;
                    *seen += 1;
                    *matched = match (first, *matched) {
                        (b'\r', 0 | 2) | (b'\n', 1 | 3) => *matched + 1,
                        (b'\r', _) => 1,
                        _ => 0,
                    };
                    if *matched == 4 {
                        self.at = At::Header([0; 10], 0);
                    } else if *seen >= HEAD_BYTES {
                        return false;
                    }
                }
                At::Header(header, have) => {
                    bytes = rest;
                    if let Some(place) = header.get_mut(*have) {
                        *place = *first;
                    }
                    *have += 1;
                    if let Some(payload) = payload(header, *have) {
                        let (fin, control) = (header[0] & 0x80 != 0, header[0] & 0x08 != 0);
                        let mask = if header[1] & 0x80 == 0 { 0 } else { 4 };
                        if !control {
                            self.message = self.message.saturating_add(payload);
                        }
                        if payload > MESSAGE_BYTES || self.message > MESSAGE_BYTES {
                            return false;
                        }
                        if fin && !control {
                            self.message = 0;
                        }
                        self.at = At::following(payload + mask);
                    }
                }
                At::Payload(left) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    bytes = bytes.get(taken..).unwrap_or_default();
                    self.at = At::following(*left - taken as u64);
                }
            }
        }
        true
    }
}

impl At {
    const fn following(payload: u64) -> Self {
        match payload {
            0 => Self::Header([0; 10], 0),
            payload => Self::Payload(payload),
        }
    }
}

/// The payload's length, once enough of the header is there to tell.
fn payload(header: &[u8; 10], have: usize) -> Option<u64> {
    let [_, second, a, b, c, d, e, f, g, h] = *header;
    match (second & 0x7f, have) {
        (_, 0 | 1) => None,
        (126, 4..) => Some(u16::from_be_bytes([a, b]).into()),
        (127, 10..) => Some(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        (126 | 127, _) => None,
        (short, _) => Some(short.into()),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Ok(count)) = &read
            && !self.watch.follow(buffer.get(..*count).unwrap_or_default())
        {
            let error =
                io::Error::new(io::ErrorKind::InvalidData, "websocket message over the limit");
            return Poll::Ready(Err(error));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nX: \r\r\n\r\n";

    /// A frame of `length` bytes of payload: (FIN, opcode, masked).
    fn frame(fin: bool, opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mut frame = vec![u8::from(fin) << 7 | opcode];
        let mask = u8::from(masked) << 7;
        match length {
            0..=125 => frame.push(mask | u8::try_from(length).unwrap()),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + length + if masked { 4 } else { 0 }, b'\r');
        frame
    }

    fn passes(parts: &[Vec<u8>], chunk: usize) -> bool {
        let all = [HEAD.to_vec(), parts.concat()].concat();
        let mut watch = Watch::new();
        all.chunks(chunk).all(|chunk| watch.follow(chunk))
    }

    #[test]
    fn messages_up_to_the_limit_pass_however_they_arrive() {
        let most = usize::try_from(MESSAGE_BYTES).unwrap();
        let frames: Vec<_> = [0, 1, 125, 126, 0xffff, 0x10000, most]
            .iter()
            .flat_map(|length| [frame(true, 2, false, *length), frame(true, 2, true, *length)])
            .collect();
        for chunk in [1, 2, 7, 4096, usize::MAX] {
            assert!(passes(&frames, chunk), "{chunk}");
            let over = [frames.clone(), vec![frame(true, 2, true, most + 1)]].concat();
            assert!(!passes(&over, chunk), "{chunk}");
        }
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_come() {
        let mut announced = frame(true, 2, false, 0x10000);
        announced.truncate(10);
        announced[2..10].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(!passes(&[announced], 1));
    }

    #[test]
    fn fragments_count_together_and_control_frames_do_not() {
        let half = usize::try_from(MESSAGE_BYTES).unwrap() / 2;
        let (begin, ping) = (frame(false, 2, true, half), frame(true, 9, true, 125));
        let fits = [begin.clone(), ping.clone(), frame(true, 0, true, half)];
        assert!(passes(&[fits.clone(), fits].concat(), 1000));
        assert!(!passes(&[begin, ping, frame(true, 0, true, half + 1)], 1000));
    }

    #[test]
    fn a_head_without_an_end_is_refused() {
        let mut watch = Watch::new();
        assert!(!watch.follow(&vec![b'a'; HEAD_BYTES]));
    }
}
