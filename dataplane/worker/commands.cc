#include "worker/commands.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "frame/frame.h"
#include "worker/forward_datapath.h"
#include "worker/hold.h"
#include "worker/punt_datapath.h"
#include "worker/send_datapath.h"
#include "worker/watch.h"

namespace slipway {
namespace {

// The struct at the head of a record; the control thread and this one are the same program, so a length that does
// not fit is our own mistake.
template <class T>
T head(std::span<const std::byte> bytes) {
  assert(bytes.size() >= sizeof(T));
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

bool is_current(const WorkerCore& w, LinkIndex link, std::uint32_t generation) {
  return link != kNoLink && link < kMaxLinks && w.links[link].state != LinkState::kFree && w.links[link].generation == generation;
}

LinkHot hot_of(const WorkerCore& w, const LinkRecord& r) {
  const bool ethernet = r.transport == LinkTransport::kEthernet;
  return {.generation = r.generation,
          .max_frame_bytes = r.max_frame_bytes,
          .owner_worker = r.owner_worker,
          .state = r.state,
          .transport = r.transport,
          .port_slot = ethernet && r.port < kMaxPorts ? w.slot_of_port[r.port] : LinkHot::kNoSlot,
          .link_class = r.link_class,
          .native = r.native,
          .unresolved = ethernet && r.outer.length == 0};
}

// What leaves by a port of this worker in the usual form.
void set_header(WorkerCore& w, const LinkRecord& record) {
  const std::uint8_t slot = w.links[record.index].port_slot;
  if (slot == LinkHot::kNoSlot) {
    w.headers[record.index] = {};
    return;
  }
  w.headers[record.index] = make_fast_header(*w.ports[slot]->ethernet, record, slot);
  w.headers[record.index].counters = &w.link_counters[record.index];
}

// Nothing of a removed link stays here. Its owner says so when the link has no socket; a socket's engine says it
// itself, when the last operation has ended.
void remove_link(WorkerCore& w, const LinkRecord& record) {
  const LinkIndex link = record.index;
  drop_held(w, link, DropReason::kLinkGone);
  w.joiner.forget(link, w.counters, w.link_counters[link]);
  w.links[link] = {};
  w.records[link] = record;
  w.sides[link] = {};
  w.peers[link] = {};
  w.headers[link] = {};
  if (w.load.ok()) {
    w.load[link] = 0;
  }
  if (record.transport == LinkTransport::kEthernet || record.transport == LinkTransport::kControl) {
    if (record.owner_worker == w.id) {
      tell(w, Event::kLinkReleased, LinkReleased{link, record.generation});
    }
  } else if (record.owner_worker == w.id && w.sockets != nullptr) {
    w.sockets->set_link(record);
  }
}

void set_link(WorkerCore& w, const LinkRecord& record) {
  assert(record.index != kNoLink && record.index < kMaxLinks);
  if (record.state == LinkState::kFree) {
    // A removal names the generation that it removes: an older one has gone already.
    if (w.links[record.index].generation == record.generation || w.links[record.index].state == LinkState::kFree) {
      remove_link(w, record);
    }
    return;
  }
  w.highest_link = std::max(w.highest_link, record.index);
  w.records[record.index] = record;
  w.links[record.index] = hot_of(w, record);
  w.peers[record.index] = make_fast_peer(record);
  set_header(w, record);
  if (record.transport == LinkTransport::kControl) {
    return;
  }
  if (record.transport != LinkTransport::kEthernet) {
    if (record.owner_worker == w.id && w.sockets != nullptr) {
      w.sockets->set_link(record);
    }
  } else if (!w.links[record.index].unresolved && w.sides[record.index].held_count != 0) {
    release_held(w, record.index);
  }
}

// Appends bytes to a chain of mbufs of this worker's pool; the first has room for the length prefix that streams send. False: no
// buffers; the chain is the caller's all the same.
bool append_bytes(WorkerCore& w, rte_mbuf*& first, rte_mbuf*& last, std::span<const std::byte> bytes) {
  for (std::size_t done = 0; done < bytes.size() || first == nullptr;) {
    if (last == nullptr || rte_pktmbuf_tailroom(last) == 0) {
      rte_mbuf* m = rte_pktmbuf_alloc(w.pool);
      if (m == nullptr) {
        return false;
      }
      if (first == nullptr) {
        first = m;
      } else {
        last->next = m;
        ++first->nb_segs;
      }
      last = m;
    }
    const auto take = static_cast<std::uint16_t>(std::min<std::size_t>(bytes.size() - done, rte_pktmbuf_tailroom(last)));
    std::memcpy(rte_pktmbuf_mtod_offset(last, void*, last->data_len), bytes.data() + done, take);
    last->data_len = static_cast<std::uint16_t>(last->data_len + take);
    first->pkt_len += take;
    done += take;
  }
  return true;
}

rte_mbuf* frame_of_bytes(WorkerCore& w, std::span<const std::byte> bytes) {
  rte_mbuf* first = nullptr;
  rte_mbuf* last = nullptr;
  if (!append_bytes(w, first, last, bytes)) {
    rte_pktmbuf_free(first);
    return nullptr;
  }
  return first;
}

void inject_frame(WorkerCore& w, std::span<const std::byte> record) {
  const auto inject = head<InjectFrame>(record);
  const auto bytes = record.subspan(sizeof inject);
  assert(bytes.size() >= kFrameHeaderBytes);
  w.counters.injected.add(1);
  const LinkIndex link = inject.link < kMaxLinks ? inject.link : kNoLink;
  rte_mbuf* frame = frame_of_bytes(w, bytes);
  if (frame == nullptr || !is_current(w, link, inject.generation)) {
    const auto reason = frame == nullptr ? DropReason::kNoBuffer : DropReason::kLinkGone;
    drop_frame(w, link, reason, frame);  // freeing nothing is allowed
    return;
  }
  make_frame(frame, kNoLink, false);
  frame_meta(frame).injected = true;
  w.counters.forwarded.add(1);
  w.counters.copies_made.add(1);
  send_injected(w, link, frame);
}

// A publish of an application inside the node, as if it came from a link.
void inject_publish(WorkerCore& w, std::span<const std::byte> record) {
  const auto piece = head<InjectPublish>(record);
  const auto bytes = record.subspan(sizeof piece);
  const LinkIndex link = piece.link < kMaxLinks ? piece.link : kNoLink;
  if (piece.offset == 0) {
    assert(w.publish.first == nullptr && bytes.size() >= kFrameHeaderBytes);
    w.publish = {};
  }
  if (!w.publish.failed && !append_bytes(w, w.publish.first, w.publish.last, bytes)) {
    w.publish.failed = true;
    rte_pktmbuf_free(std::exchange(w.publish.first, nullptr));
  }
  if (piece.offset + bytes.size() < piece.frame_bytes) {
    return;
  }
  w.counters.frames_in.add(1);
  w.counters.bytes_in.add(piece.frame_bytes);
  w.link_counters[link].frames_in.add(1);
  w.link_counters[link].bytes_in.add(piece.frame_bytes);
  rte_mbuf* frame = std::exchange(w.publish.first, nullptr);
  w.publish.last = nullptr;
  if (frame == nullptr || !is_current(w, link, piece.generation) || !room_for_burst(w)) {
    drop_frame(w, link, frame == nullptr ? DropReason::kNoBuffer : room_for_burst(w) ? DropReason::kLinkGone : DropReason::kQueueFull, frame);
    return;
  }
  make_frame(frame, link, false);
  frame_meta(frame).injected = true;
  forward_burst(w, {&frame, 1});
}

void inject_packet(WorkerCore& w, std::span<const std::byte> record) {
  const auto inject = head<InjectPacket>(record);
  const std::uint8_t slot = inject.port < kMaxPorts ? w.slot_of_port[inject.port] : LinkHot::kNoSlot;
  if (slot == LinkHot::kNoSlot) {
    return;
  }
  if (rte_mbuf* packet = frame_of_bytes(w, record.subspan(sizeof inject)); packet != nullptr) {
    send_packet(w, *w.ports[slot], packet);
  }
}

void apply_routes(WorkerCore& w, std::span<const std::byte> bytes) {
  for (; bytes.size() >= sizeof(RouteUpdate); bytes = bytes.subspan(sizeof(RouteUpdate))) {
    w.table->apply(head<RouteUpdate>(bytes));
  }
}

void swap_table(WorkerCore& w, const SwapTable& swap) {
  const SwapTable old{w.table};
  w.table = swap.table;
  tell(w, Event::kTableRetired, old);
}

void socket_command(WorkerCore& w, Command command, std::span<const std::byte> bytes) {
  if (w.sockets == nullptr) {
    return;
  }
  switch (command) {
    case Command::kOpenStream:
      w.sockets->open_stream(head<OpenStream>(bytes));
      break;
    case Command::kOpenDatagram:
      w.sockets->open_datagram(head<OpenDatagram>(bytes));
      break;
    case Command::kClosePort:
      w.sockets->close_port(head<ClosePort>(bytes));
      break;
    case Command::kCloseLink:
      w.sockets->close_link(head<CloseLink>(bytes));
      break;
    case Command::kEdgeKey:
      w.sockets->give_edge_key(head<GiveEdgeKey>(bytes));
      break;
    default:
      w.sockets->inject_datagram(head<InjectDatagram>(bytes), bytes.subspan(sizeof(InjectDatagram)));
      break;
  }
}

void apply(WorkerCore& w, Command command, std::span<const std::byte> bytes) {
  switch (command) {
    case Command::kRoute:
      return apply_routes(w, bytes);
    case Command::kSwapTable:
      return swap_table(w, head<SwapTable>(bytes));
    case Command::kLink:
      return set_link(w, head<LinkRecord>(bytes));
    case Command::kOpenStream:
    case Command::kOpenDatagram:
    case Command::kClosePort:
    case Command::kCloseLink:
    case Command::kEdgeKey:
    case Command::kInjectDatagram:
      return socket_command(w, command, bytes);
    case Command::kInjectFrame:
      return inject_frame(w, bytes);
    case Command::kInjectPublish:
      return inject_publish(w, bytes);
    case Command::kInjectPacket:
      return inject_packet(w, bytes);
    case Command::kTrace:
      return set_watch(w, w.trace, head<TraceFilter>(bytes));
    case Command::kCapture:
      return set_watch(w, w.capture, head<TraceFilter>(bytes));
    case Command::kSnapshot:
      w.snapshot_request = head<Snapshot>(bytes).request;
      w.snapshot_wanted = true;
      return;
    case Command::kDrain:
      w.draining = true;
      if (w.sockets != nullptr) {
        w.sockets->stop_reading();
      }
      return;
    case Command::kStop:
      w.stopping = true;
      return;
  }
}

}  // namespace

std::uint32_t apply_commands(WorkerCore& w) {
  std::uint32_t count = 0;
  while (count < kCommandsPerLoop && !w.stopping) {
    const auto record = w.commands.peek();
    if (!record) {
      break;
    }
    apply(w, static_cast<Command>(record->type), record->bytes);
    w.commands.pop();
    ++count;
  }
  if (count != 0) {
    w.counters.commands.add(count);
    w.applied.store(w.applied.load(std::memory_order_relaxed) + count, std::memory_order_release);
  }
  return count;
}

}  // namespace slipway
