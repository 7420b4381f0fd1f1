//! Lines from partners: what they offer is asked for once, of one of them.
//!
//! **Invariant:** lines that were asked for are verified before they are kept, and
//! whoever gives one that does not fit is wrong: honest partners give only what they
//! have verified. Deliberately absent: whom to ask, which `offers` decides.

use super::super::ledger::Teller;
use super::super::wire::{HeldLines, Message, Offer, WantedLines};
use super::super::{Context, Refusal, Sessions};
use super::Witnessing;
use super::offers::{Have, Question, mark};
use crate::checkpoint::{CheckpointError, VerifiedCheckpoint};
use crate::id::{AuthorityId, LogId, NodeId, Space};
use crate::identity::Identity;
use crate::limits;
use crate::note::SignatureLine;
use crate::witness::Seen;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of lines in one frame.
const ROOM: usize = limits::FRAME_BYTES / 2;

impl Witnessing {
    /// A partner has lines on heads that we may have.
    pub(in crate::sync) fn offered(&mut self, cx: &Context<'_>, peer: NodeId, offers: &[Offer]) {
        for offer in offers {
            let Some(log) = cx.ledger.offered(offer) else { continue };
            let Offer { size, mark, .. } = *offer;
            let count = offer.count.min(limits::WITNESSES as u64);
            let (has, ours) = (Have { size, count, mark }, self.have(cx, &log));
            if size > ours.size || (size == ours.size && has != ours && count >= ours.count) {
                self.offers.heard(log, peer, has);
            }
        }
    }

    /// What there is of the newest head of a log.
    fn have(&self, cx: &Context<'_>, log: &LogId) -> Have {
        let ours = cx.ledger.log(log).and_then(|slot| slot.head.clone());
        let Some(ours) = ours else { return Have::default() };
        let head = self.gathering(log, ours);
        let (size, count) = (head.checkpoint().size(), head.cosignatures().count() as u64);
        Have { size, count, mark: mark(&head) }
    }

    /// Asks for what is offered and lacking.
    pub(super) fn fetch(&mut self, cx: &mut Context<'_>, sessions: &Sessions) {
        let mut offers = core::mem::take(&mut self.offers);
        let here = |peer: &NodeId| sessions.is_open(peer);
        // What is on its way to storage will be there in a moment.
        let have = |log: &LogId| (!cx.ledger.is_appending(log)).then(|| self.have(cx, log));
        let asked = offers.ask(cx.now, have, here);
        self.offers = offers;
        let mut wanted: BTreeMap<NodeId, Vec<WantedLines>> = BTreeMap::new();
        for Question { peer, log, all } in asked {
            let Some(ours) = cx.ledger.log(&log).and_then(|slot| slot.head.clone()) else {
                continue;
            };
            let head = self.gathering(&log, ours);
            let have = head.cosignatures().filter(|_| !all).map(|signer| signer.key.key_id());
            let have = have.collect();
            let size = head.checkpoint().size();
            wanted.entry(peer).or_default().push(WantedLines { log, size, have });
        }
        for (peer, wanted) in wanted {
            for some in wanted.chunks(limits::LINE_REQUESTS) {
                cx.out.send(peer, &Message::WantLines(some.to_vec()));
            }
        }
    }

    /// A peer asks for lines: it gets those on heads that are durable here.
    pub(in crate::sync) fn wanted(cx: &mut Context<'_>, peer: NodeId, wanted: &[WantedLines]) {
        let (mut held, mut bytes) = (Vec::new(), 0);
        for WantedLines { log, size, have } in wanted {
            // A group's log is none that is known, to whoever asks.
            let slot = cx.ledger.log(log).filter(|_| log.space == Space::Public);
            let head = slot.and_then(|slot| slot.head.as_ref());
            let lines = head.filter(|head| head.checkpoint().size() == *size);
            let lines = lines.map_or_else(Vec::new, |head| lines_beside(head, have));
            bytes += lines.iter().map(Vec::len).sum::<usize>();
            if bytes > ROOM {
                // It asks somebody else for the rest.
                break;
            }
            held.push(HeldLines { log: *log, size: *size, lines });
        }
        if !held.is_empty() {
            cx.out.send(peer, &Message::Lines(held));
        }
    }

    /// A peer gives lines that it was asked for.
    pub(in crate::sync) fn told(
        &mut self,
        cx: &mut Context<'_>,
        peer: NodeId,
        held: Vec<HeldLines>,
    ) {
        for HeldLines { log, size, lines } in held {
            if !self.offers.answered(log, peer) {
                continue;
            }
            let ours = cx.ledger.log(&log).and_then(|slot| slot.head.clone());
            let Some(ours) = ours.filter(|ours| ours.checkpoint().size() == size) else {
                continue;
            };
            let before = self.gathering(&log, ours);
            let Ok(head) = self.with_lines(cx, &log, &before, &lines) else {
                return cx.out.refuse_peer(peer, Refusal::BadSignature);
            };
            if head != before {
                // It need not hear of them, if there are no others.
                let alone = before.cosignatures().next().is_none();
                self.gather(cx, log, head);
                if let Some(gathered) = self.gathered.get_mut(&log) {
                    // Whoever gave them had gathered them.
                    gathered.until = cx.now;
                    gathered.teller = alone.then_some(Teller { peer, at: cx.now });
                }
            }
        }
    }

    /// A head with further lines, each checked.
    fn with_lines(
        &mut self,
        cx: &Context<'_>,
        log: &LogId,
        before: &VerifiedCheckpoint,
        lines: &[Vec<u8>],
    ) -> Result<VerifiedCheckpoint, CheckpointError> {
        let keys = cx.ledger.witness_keys(&log.authority);
        let own = cx.ledger.witness_key_of(&self.own);
        let mut head = before.clone();
        for bytes in lines {
            // Of a witness that is not known yet nothing can be made; it is asked for again.
            let line =
                keys.iter().find_map(|key| Some((SignatureLine::from_parts(key, bytes)?, key)));
            let Some((line, key)) = line else { continue };
            let (size, known) = (head.checkpoint().size(), head.line_of(key));
            if known.is_some_and(|known| !line.precedes(known) || !self.may_replace(log, size)) {
                continue;
            }
            let replaced = usize::from(known.is_some());
            self.checked += 1;
            head.add(line, key)?;
            self.count_replaced(*log, size, replaced);
            if Some(key) == own.as_ref() {
                self.promise(*log, Seen::from(&head));
            }
        }
        Ok(head)
    }

    /// Lines that could not be verified may be now.
    pub(super) fn refetch(&mut self, cx: &Context<'_>, changed: &BTreeSet<AuthorityId>) {
        self.offers.renew(|log| {
            let named = cx.ledger.identity(&log.authority).map_or(&[][..], Identity::witnesses);
            changed.contains(&log.authority) || named.iter().any(|named| changed.contains(named))
        });
    }

    /// A peer is gone, or back.
    pub(in crate::sync) fn came_or_went(&mut self, peer: &NodeId) {
        self.offers.met(peer);
    }
}

/// The lines of witnesses on a head but those by keys of these ids.
fn lines_beside(head: &VerifiedCheckpoint, have: &[u32]) -> Vec<Vec<u8>> {
    let others = head.cosignatures().filter(|signer| !have.contains(&signer.key.key_id()));
    let lines = others.filter_map(|signer| head.line_of(&signer.key));
    lines.map(SignatureLine::parts).collect()
}
