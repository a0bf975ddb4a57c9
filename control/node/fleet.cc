#include "node/fleet.h"

#include <algorithm>

#include "control_bounds.h"

namespace slipway {

namespace {
constexpr std::size_t kRoutesPerRecord = kMaxMailBytes / sizeof(RouteUpdate) / 2;
}

Fleet::Fleet(WorkerGroup& group, ControlCounters& counters) : group_(group), counters_(counters), lanes_(group.size()) {
  routes_.reserve(kRoutesPerRecord);
}

void Fleet::append(std::size_t worker, Command command, std::span<const std::byte> head, std::span<const std::byte> tail) {
  if (!routes_.empty() && command != Command::kRoute) {
    post_routes();
  }
  auto& lane = lanes_[worker];
  ++lane.numbered;
  lane.dirty = true;
  if (lane.backlog.empty() && group_[worker].append_quietly(command, head, tail)) {
    return;
  }
  ++counters_.commands_delayed;
  Late late{static_cast<std::uint16_t>(command), {}};
  late.bytes.reserve(head.size() + tail.size());
  late.bytes.insert(late.bytes.end(), head.begin(), head.end());
  late.bytes.insert(late.bytes.end(), tail.begin(), tail.end());
  lane.bytes += late.bytes.size() + sizeof late;
  backlog_bytes_ += late.bytes.size() + sizeof late;
  lane.backlog.push_back(std::move(late));
}

void Fleet::route(const RouteUpdate& update) {
  routes_.push_back(update);
  if (routes_.size() >= kRoutesPerRecord) {
    post_routes();
  }
}

void Fleet::post_routes() {
  if (routes_.empty()) {
    return;
  }
  const auto bytes = std::as_bytes(std::span(routes_));
  for (std::size_t i = 0; i < size(); ++i) {
    append(i, Command::kRoute, bytes, {});
  }
  routes_.clear();
}

void Fleet::drain_backlog(std::size_t worker) {
  auto& lane = lanes_[worker];
  while (!lane.backlog.empty()) {
    const auto& late = lane.backlog.front();
    if (!group_[worker].append_quietly(static_cast<Command>(late.type), late.bytes, {})) {
      break;
    }
    const auto bytes = late.bytes.size() + sizeof late;
    lane.bytes -= bytes;
    backlog_bytes_ -= bytes;
    lane.dirty = true;
    lane.backlog.pop_front();
  }
}

void Fleet::flush() {
  post_routes();
  for (std::size_t i = 0; i < size(); ++i) {
    drain_backlog(i);
    if (lanes_[i].dirty) {
      lanes_[i].dirty = false;
      group_[i].wake();
    }
  }
}

Fleet::Mark Fleet::mark() const {
  Mark out;
  out.reserve(lanes_.size());
  for (const auto& lane : lanes_) {
    out.push_back(lane.numbered);
  }
  return out;
}

std::size_t Fleet::slowest(const Mark& mark) const {
  for (std::size_t i = 0; i < mark.size(); ++i) {
    if (group_[i].applied() < mark[i]) {
      return i;
    }
  }
  return mark.size();
}

std::uint64_t Fleet::ticket(std::uint64_t now_ms) {
  post_routes();
  tickets_.push_back({next_ticket_, now_ms + kApplyDeadlineMs, mark()});
  return next_ticket_++;
}

void Fleet::after_applied(std::move_only_function<void()> call) {
  post_routes();
  calls_.push_back({mark(), std::move(call)});
}

void Fleet::poll(std::uint64_t now_ms) {
  std::uint64_t applied = 0;
  while (!tickets_.empty()) {
    const auto worker = slowest(tickets_.front().mark);
    if (worker == size()) {
      applied = tickets_.front().number;
      tickets_.pop_front();
      continue;
    }
    if (now_ms < tickets_.front().deadline_ms) {
      break;
    }
    if (applied != 0 && on_applied) {
      on_applied(std::exchange(applied, 0));
    }
    const auto number = tickets_.front().number;
    tickets_.pop_front();
    if (on_late) {
      on_late(number, group_[worker].config().name);
    }
  }
  if (applied != 0 && on_applied) {
    on_applied(applied);
  }
  while (!calls_.empty() && slowest(calls_.front().mark) == size()) {
    auto call = std::move(calls_.front().call);
    calls_.pop_front();
    call();
  }
}

std::string Fleet::behind() const {
  for (std::size_t i = 0; i < lanes_.size(); ++i) {
    if (lanes_[i].bytes > kBehindBytes) {
      return group_[i].config().name;
    }
  }
  return {};
}

std::uint64_t Fleet::commands_waiting(std::size_t worker) const {
  const auto applied = group_[worker].applied();
  return lanes_[worker].numbered > applied ? lanes_[worker].numbered - applied : 0;
}

}  // namespace slipway
