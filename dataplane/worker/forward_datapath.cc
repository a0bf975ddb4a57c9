// The stages of a burst. Each is a loop over all its frames and calls no other stage.
#include "worker/forward_datapath.h"

#include "frame/frame.h"
#include "worker/fanout_datapath.h"
#include "worker/punt_datapath.h"
#include "worker/send_datapath.h"
#include "worker/watch.h"

namespace slipway {
namespace {

// Check, link state, hop limit, kind of frames that are whole (from sockets, or joined).
void take_publishes(WorkerCore& w, std::span<rte_mbuf* const> frames, Publishes& p) {
  for (rte_mbuf* m : frames) {
    std::byte* f = data_of(m);
    const LinkIndex in_link = frame_meta(m).in_link;
    if (m->data_len < kFrameHeaderBytes || !plain_publish(f) || !may_forward(w.links[in_link].state)) [[unlikely]] {
      punt_or_drop(w, m);
    } else {
      set_frame_hop_limit(f, static_cast<std::uint8_t>(frame_hop_limit(f) - 1));
      p.mbuf[p.count] = m;
      p.destination[p.count] = f + frame_offset::kDestination;
      p.in_link[p.count] = in_link;
      p.bytes[p.count] = m->pkt_len;
      ++p.count;
    }
  }
}

const AnycastRules& rules_for(const WorkerCore& w, LinkIndex in_link) {
  return w.links[in_link].link_class == LinkClass::kPeer ? w.rules_from_peer : w.rules;
}

void send_one(WorkerCore& w, rte_mbuf* m, LinkIndex in_link, RouteMatch match, LinkIndex to) {
  if (to == kNoLink) {
    drop_unmatched(w, in_link, match.found() ? DropReason::kOnlyIngress : DropReason::kNoRoute, m);
    return;
  }
  if (w.links[to].max_frame_bytes < rte_pktmbuf_pkt_len(m) && w.links[to].state == LinkState::kUp) [[unlikely]] {
    drop_unmatched(w, in_link, DropReason::kTooBigForLink, m);
    return;
  }
  w.counters.forwarded.add(1);
  w.counters.copies_made.add(1);
  w.last_chosen = to;
  send_copy(w, to, m);
}

// One receiver of a match, never the ingress; kNoLink when there is none.
LinkIndex choose(WorkerCore& w, RouteMatch match, LinkIndex in_link) {
  const LinkIndex to = match.found() ? w.table->choose_one(match, in_link, rules_for(w, in_link)) : kNoLink;
  if (w.rules.load != nullptr) {
    ++w.load[to];
  }
  return to;
}

// One frame on the way that fits all. Those before it are where they belong.
[[gnu::noinline]] void send_general(WorkerCore& w, const Publishes& p, std::uint32_t i, RouteMatch match) {
  rte_mbuf* m = p.mbuf[i];
  const LinkIndex in_link = p.in_link[i];
  if (p.header_bytes != 0) {
    open_packet(m, p.frame(i), p.bytes[i], in_link);
  }
  const bool all = frame_fanout(data_of(m)) != 1;
  if (w.fanouts.count != 0 && must_wait(w, m, all)) {
    queue_fanout(w, m, in_link, match);
  } else if (all) {
    begin_fanout(w, m, in_link, match);
  } else {
    send_one(w, m, in_link, match, p.to[i]);
  }
}

// Receivers that are the only one, whether one or all are asked for. True when that was all: else some names have
// groups, whose receivers are left open.
// cost: under 1 ns a frame, eight at a time.
bool choose_singles(const RouteMatch* matches, Publishes& p) {
  std::uint32_t groups = 0;
  for (std::uint32_t i = 0; i < p.count; ++i) {
    const LinkIndex link = matches[i].link();  // of a match that is none: kNoLink
    groups |= matches[i].value();
    p.to[i] = link == p.in_link[i] ? kNoLink : link;
  }
  return !RouteMatch(groups).is_group();
}

// cost: expected 4 ns a frame with a group (its line was prefetched).
void choose_links(WorkerCore& w, const RouteMatch* matches, Publishes& p) {
  const bool rules = w.full_mesh || w.rules.load != nullptr;  // singles too are subject to them
  if (!rules && choose_singles(matches, p)) [[likely]] {
    return;
  }
  for (std::uint32_t i = 0; i < p.count; ++i) {
    if (rules || matches[i].is_group()) {
      p.to[i] = frame_fanout(p.frame(i)) == 1 ? choose(w, matches[i], p.in_link[i]) : kNoLink;
    }
  }
}

// Packets from `first` on, as many as leave one behind the other by one port in the short way, into its buffer and
// the books. Returns how many; the next one is left as it was. There is one at `first`. A function of its
// own, for the registers.
// cost: expected 6 ns a packet: 4 for its headers, 2 for the books.
[[gnu::noinline]] std::uint32_t send_packets(WorkerCore& w, PortSlot& slot, const Publishes& p, std::uint32_t first) {
  const FastHeader* headers = w.headers.data();
  rte_mbuf** packets = slot.packet.data() + slot.packets - first;
  TxCopy* copies = slot.copy.data() + slot.copies - first;
  const std::uint32_t slot_bits = headers[p.to[first]].fit & ~kFitBytes;
  const std::uint64_t count = p.count;
  const std::uint16_t in_place = p.header_bytes == fast_lane::kUntagged ? fast_lane::kUntagged : 0;
  FastSequence sequence(w.sender);
  std::uint64_t total = 0;
  std::uint64_t i = first;
  while (true) {
    const std::uint64_t to = p.to[i];
    const FastHeader& header = headers[to];
    const std::uint32_t bytes = p.bytes[i];
    if (header.fit - slot_bits - bytes > kFitBytes) [[unlikely]] {  // another slot, or too long
      break;
    }
    rte_mbuf* m = p.mbuf[i];
    packets[i] = m;
    store_le(copies + i, static_cast<std::uint32_t>(to) | 1u << 16);  // link and packets
    std::byte* frame = p.frame(static_cast<std::uint32_t>(i));
    if (header.length == in_place) [[likely]] {
      put_packet<true>(header, sequence, m, frame, bytes);
    } else {
      put_packet<false>(header, sequence, m, frame, bytes);
    }
    header.counters->frames_sent.add(1);  // taken back if the port refuses it
    header.counters->bytes_sent.add(bytes);
    total += bytes;
    if (++i == count) {
      break;
    }
  }
  sequence.store(w.sender);
  const auto sent = static_cast<std::uint32_t>(i - first);
  slot.packets += sent;
  slot.copies += sent;
  slot.frame_bytes += total;
  w.counters.forwarded.add(sent);
  w.counters.copies_made.add(sent);
  w.last_chosen = sent != 0 ? p.to[i - 1] : w.last_chosen;
  return sent;
}

// Sends, in order of arrival: runs of packets that leave by one port in the short way, and between them what does not.
// While fan-outs wait every frame is looked at by itself: it may have to wait behind.
void send_publishes(WorkerCore& w, const Publishes& p, const RouteMatch* matches) {
  for (std::uint32_t done = 0; done < p.count;) {
    const FastHeader& header = w.headers[p.to[done]];
    PortSlot* slot = w.slots[header.slot()];  // of a header that fits nothing, maybe none
    if (p.header_bytes != 0 && header.largest_frame() != 0 && w.fanouts.count == 0 && slot->packets + p.count <= kTxBufferPackets) [[likely]] {
      const std::uint32_t sent = send_packets(w, *slot, p, done);
      done += sent;
      if (sent != 0) {
        continue;
      }
    }
    send_general(w, p, done, matches[done]);
    ++done;
  }
}

}  // namespace

void forward_publishes(WorkerCore& w, Publishes& p) {
  std::array<RouteMatch, kMaxBurst> matches;
  w.table->lookup({p.destination.data(), p.count}, matches.data());
  choose_links(w, matches.data(), p);
  send_publishes(w, p, matches.data());
}

namespace {

void forward_stages(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  Publishes p;
  take_publishes(w, frames, p);
  if (p.count != 0) {
    forward_publishes(w, p);
  }
}

// One frame at a time: what became of it is what the counters say that has changed.
[[gnu::noinline]] void forward_watched(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  for (rte_mbuf* const& frame : frames) {
    WatchNote note;
    watch_before(w, frame, note);
    forward_stages(w, {&frame, 1});
    watch_after(w, note);
  }
}

}  // namespace

void forward_burst(WorkerCore& w, std::span<rte_mbuf* const> frames) {
  if (w.watching) [[unlikely]] {
    forward_watched(w, frames);
    return;
  }
  forward_stages(w, frames);
}

}  // namespace slipway
