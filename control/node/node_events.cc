// What workers tell, what signals say, and the way to the end.
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "api/pcapng.h"
#include "control_bounds.h"
#include "node/node.h"
#include "node/node_channel_manager.h"
#include "node/service.h"

namespace slipway {

namespace {

constexpr std::uint32_t kEventsPerTurn = 4'096;     // of one worker, so that the rest of the loop gets its turn
constexpr std::uint32_t kMissedPulses = 3;          // a worker whose loop did not move so often is stuck
constexpr std::uint32_t kFarewellMs = 300;          // for goodbyes to leave
constexpr std::uint64_t kDrainLookNs = 5'000'000;

template <class T>
T head(std::span<const std::byte> bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), std::min(sizeof value, bytes.size()));
  return value;
}

template <class T>
std::span<const std::byte> tail(std::span<const std::byte> bytes) {
  return bytes.size() > sizeof(T) ? bytes.subspan(sizeof(T)) : std::span<const std::byte>{};
}

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

bool Node::drain_events() {
  bool more = false;
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    auto& events = (*workers_)[i].events();
    std::uint32_t budget = kEventsPerTurn;
    for (auto record = events.peek(); record && budget != 0; record = events.peek(), --budget) {
      on_event(i, *record);
      events.pop();
    }
    more |= budget == 0;
  }
  return more;
}

void Node::on_event(std::size_t worker, const MailRing::Record& record) {
  const auto bytes = record.bytes;
  switch (static_cast<Event>(record.type)) {
    case Event::kPuntedFrame:
      return on_punted(bytes);
    case Event::kPuntedPacket:
      ++counters_.packets_punted;
      return ports_->packet_in(head<PuntedPacket>(bytes).port, tail<PuntedPacket>(bytes), now_ms());
    case Event::kLocalFrame: {
      const auto frame = head<PuntedFrame>(bytes);
      for (LocalApplication* local : local_applications()) {
        if (local != nullptr && local->frame_in(frame.link, frame.generation, tail<PuntedFrame>(bytes))) {
          return;
        }
      }
      return;
    }
    case Event::kHello:
      ++counters_.hellos;
      return links_->on_hello(head<Hello>(bytes), tail<Hello>(bytes), now_ms());
    case Event::kLinkClosed:
      return links_->on_closed(head<LinkClosed>(bytes), text_of(tail<LinkClosed>(bytes)), now_ms());
    case Event::kEdgeOpen:
      return links_->on_edge_open(head<EdgeOpened>(bytes), now_ms());
    case Event::kLinkReleased:
      return links_->on_released(head<LinkReleased>(bytes));
    case Event::kStalled:
      ++counters_.stalls;
      return links_->on_stalled(head<LinkStalled>(bytes), true);
    case Event::kUnstalled:
      return links_->on_stalled(head<LinkStalled>(bytes), false);
    case Event::kNoRoute:
      return on_no_route(head<NoRoute>(bytes));
    case Event::kTraced:
      return on_traced(bytes);
    case Event::kCaptured:
      return on_captured(bytes);
    case Event::kSnapshotDone:
      snapshots_done_ += head<Snapshot>(bytes).request == snapshot_request_ ? 1 : 0;
      return;
    case Event::kTableRetired:
      return;  // tables belong to this node and are not swapped
  }
  log_.error(fmt::format("worker {} told event {}, which does not exist", worker, record.type));
}

void Node::on_punted(std::span<const std::byte> bytes) {
  ++counters_.frames_punted;
  const auto punted = head<PuntedFrame>(bytes);
  const auto frame = tail<PuntedFrame>(bytes);
  if (check_frame(frame) != FrameFault::kNone) {
    ++counters_.frames_malformed;
    return;
  }
  if (frame_kind(frame.data()) == static_cast<std::uint8_t>(FrameKind::kLink)) {
    links_->on_link_frame(punted.link, punted.generation, frame, now_ms());
  } else {
    links_->heard(punted.link, punted.generation);
    subscriptions_->on_frame(punted.link, punted.generation, frame);
  }
}

void Node::on_no_route(const NoRoute& event) {
  const NodeLink* link = links_->table().find(event.link, event.generation);
  if (link == nullptr || link->record.state != LinkState::kUp || !link->record.native) {
    return;
  }
  NoRouteBody body;
  body.drop_reason = event.drop_reason;
  body.destination = event.destination;
  body.source = event.source;
  body.session_id = event.session_id;
  body.message_id = event.message_id;
  body.more = event.more;
  ++counters_.no_route_notices;
  send(link->record, encode_link(body));
}

// --- trace and capture -----------------------------------------------------------------------------------------------

void Node::end_watch(Watcher& watcher, Command command) {
  if (!watcher.stream) {
    return;
  }
  loop_->cancel(std::exchange(watcher.deadline, TimerId::kNone));
  fleet_->post_all(command, TraceFilter{});
  auto stream = std::exchange(watcher.stream, nullptr);
  stream->on_end = nullptr;
  stream->end();
}

void Node::on_traced(std::span<const std::byte> bytes) {
  if (!trace_.stream || trace_.left == 0) {
    return;
  }
  const auto header = tail<Traced>(bytes);
  const auto destination =
      header.size() >= kFrameHeaderBytes ? database_->text_of(load_name(header.data() + frame_offset::kDestination)) : std::string();
  if (!trace_.stream->write(trace_line(head<Traced>(bytes), header, destination))) {
    ++counters_.stream_records_lost;
  }
  if (--trace_.left == 0) {
    end_watch(trace_, Command::kTrace);
  }
}

void Node::on_captured(std::span<const std::byte> bytes) {
  if (!capture_.stream || capture_.left == 0) {
    return;
  }
  const auto captured = head<Captured>(bytes);
  CapturedFrame frame{captured.time_ns, captured.link, captured.frame_bytes, fmt::format("link {}", captured.link)};
  if (captured.drop_reason < kDropReasonCount) {
    frame.comment += fmt::format(", dropped: {}", kDropReasonTexts[captured.drop_reason].name);
  }
  const auto packet = pcapng_packet(frame, tail<Captured>(bytes));
  if (!capture_.stream->write(packet)) {
    ++counters_.stream_records_lost;
  }
  capture_.bytes_left -= std::min<std::uint64_t>(capture_.bytes_left, packet.size());
  if (--capture_.left == 0 || capture_.bytes_left == 0) {
    end_watch(capture_, Command::kCapture);
  }
}

// --- life -------------------------------------------------------------------------------------------------------------

// A worker that sleeps is woken, so that its loop must move: only one that is stuck does not.
void Node::watchdog() {
  bool all_alive = true;
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    auto& worker = (*workers_)[i];
    auto& pulse = pulses_[i];
    const auto loops = worker.counters().loops.get();
    pulse.missed = loops != pulse.loops ? 0 : pulse.missed + 1;
    pulse.loops = loops;
    if (pulse.missed == kMissedPulses) {
      log_.error(fmt::format("worker {} is stuck: its loop has not moved for {} s", worker.config().name, kMissedPulses));
    }
    all_alive &= pulse.missed < kMissedPulses;
    worker.wake();
  }
  if (watchdog_ms_ != 0 && all_alive && now_ms() - fed_ms_ >= watchdog_ms_ / 4) {
    fed_ms_ = now_ms();
    notify_alive();
  }
}

std::string Node::unhealthy() {
  for (std::size_t i = 0; i < pulses_.size(); ++i) {
    if (pulses_[i].missed >= kMissedPulses || !(*workers_)[i].running()) {
      return fmt::format("worker {} is stuck", (*workers_)[i].config().name);
    }
  }
  return draining_ ? "the node is stopping" : "";
}

void Node::on_signal() {
  signalfd_siginfo info{};
  while (read(signal_fd_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo == SIGHUP) {
      const auto row = reload();
      if (!row.ok) {
        log_.error(fmt::format("reload refused, the node goes on as it was: {}", row.error));
      }
    } else {
      begin_stop(draining_ ? std::optional<std::uint32_t>(0) : std::nullopt, info.ssi_signo == SIGINT ? "interrupted" : "asked to stop");
    }
  }
}

void Node::begin_stop(std::optional<std::uint32_t> drain_ms, const std::string& why) {
  const auto until = now_ms() + drain_ms.value_or(settings_.drain_ms);
  if (draining_) {
    drain_until_ms_ = std::min(drain_until_ms_, until);
    return;
  }
  drain_until_ms_ = until;
  notify_stopping(why);
  log_.info(fmt::format("{}: draining for at most {} ms", why, drain_ms.value_or(settings_.drain_ms)));
  draining_ = true;
  controller_->drain();
  channels_->stop();
  manager_->drain();
  for (auto& listener : listeners_) {
    close_listener(*listener);
  }
  for (auto& dialer : dialers_) {
    dial_ended(*dialer);
  }
  fleet_->post_all(Command::kDrain);
  loop_->every(kDrainLookNs, [this] { drain_step(); });
}

// First what is held leaves, then everybody is told, then the workers stop.
void Node::drain_step() {
  if (fleet_->waiting() && now_ms() < drain_until_ms_) {
    return;
  }
  std::uint64_t held = workers_->in_handoff();
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    held += (*workers_)[i].held();
  }
  if (held != 0 && now_ms() < drain_until_ms_) {
    return;
  }
  if (!said_goodbye_) {
    said_goodbye_ = true;
    drain_until_ms_ = now_ms() + kFarewellMs;
    links_->table().each([&](NodeLink& link) { links_->close(link.record.index, "the node stops", now_ms()); });
    return;
  }
  end_watch(trace_, Command::kTrace);
  end_watch(capture_, Command::kCapture);
  fleet_->flush();
  workers_->stop();
  std::uint64_t dropped = 0;
  for (std::size_t i = 0; i < workers_->size(); ++i) {
    dropped += (*workers_)[i].counters().drops[static_cast<std::size_t>(DropReason::kStopping)].get();
  }
  log_.info(dropped == 0 ? std::string("stopped; nothing was dropped")
                         : fmt::format("stopped; {} frames were still held when the deadline passed and were dropped", dropped));
  stopped_ = true;
}

}  // namespace slipway
