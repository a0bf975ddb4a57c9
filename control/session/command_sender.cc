#include "session/command_sender.h"

#include <algorithm>

#include "session/session_bounds.h"

namespace slipway {

std::uint32_t CommandSender::next_id() {
  std::uint32_t id = 0;
  do {
    id = random_.next();
  } while (id == 0 || std::ranges::any_of(open_, [id](const Open& open) { return std::ranges::find(open.ids, id) != open.ids.end(); }));
  return id;
}

void CommandSender::transmit(const Open& open) {
  const bool to_all = facts_.is_group() && open.message.fanout != kOneReceiver;
  out_.send(open.message, to_all);
}

void CommandSender::send(TimeMs now, CommandPurpose purpose, SessionMessage message, std::vector<FullName> awaited, Ids ids) {
  if (open_.size() >= kMaxOpenCommands) {
    results_.push_back({purpose, message.message_id, std::move(awaited)});
    return;
  }
  const std::uint32_t id = message.message_id;
  open_.push_back({purpose, std::move(message), std::move(awaited), {id}, ids, facts_.control.max_retries, now + facts_.control.timeout_ms});
  transmit(open_.back());
  finish_answered();
}

const CommandSender::Open* CommandSender::find(CommandPurpose purpose, std::uint32_t id) const {
  const auto at = std::ranges::find_if(open_, [&](const Open& open) {
    return open.purpose == purpose && std::ranges::find(open.ids, id) != open.ids.end();
  });
  return at == open_.end() ? nullptr : &*at;
}

bool CommandSender::awaits(CommandPurpose purpose, const FullName& source, std::uint32_t id) const {
  const Open* open = find(purpose, id);
  return open != nullptr && std::ranges::find(open->awaited, source) != open->awaited.end();
}

std::size_t CommandSender::awaited(std::uint32_t id) const {
  const auto at = std::ranges::find_if(open_, [id](const Open& open) { return std::ranges::find(open.ids, id) != open.ids.end(); });
  return at == open_.end() ? 0 : at->awaited.size();
}

bool CommandSender::answered(CommandPurpose purpose, const FullName& source, std::uint32_t id) {
  auto* open = const_cast<Open*>(find(purpose, id));
  if (open == nullptr || std::erase(open->awaited, source) == 0) {
    return false;
  }
  finish_answered();
  return true;
}

void CommandSender::finish_answered() {
  for (const Open& open : open_) {
    if (open.awaited.empty()) {
      results_.push_back({open.purpose, open.ids.front(), {}});
    }
  }
  std::erase_if(open_, [](const Open& open) { return open.awaited.empty(); });
}

void CommandSender::cancel(CommandPurpose purpose) {
  std::erase_if(open_, [purpose](const Open& open) { return open.purpose == purpose; });
  std::erase_if(results_, [purpose](const CommandResult& result) { return result.purpose == purpose; });
}

void CommandSender::forget(const FullName& member) {
  for (Open& open : open_) {
    std::erase(open.awaited, member);
  }
  finish_answered();
}

void CommandSender::forget(const FullName& member, CommandPurpose purpose) {
  for (Open& open : open_) {
    if (open.purpose == purpose) {
      std::erase(open.awaited, member);
    }
  }
  finish_answered();
}

bool CommandSender::open(CommandPurpose purpose) const { return open_count(purpose) != 0; }

std::size_t CommandSender::open_count(CommandPurpose purpose) const {
  return static_cast<std::size_t>(std::ranges::count(open_, purpose, &Open::purpose));
}

void CommandSender::advance(TimeMs now) {
  for (Open& open : open_) {
    if (open.deadline > now) {
      continue;
    }
    if (open.tries_left == 0) {
      results_.push_back({open.purpose, open.ids.front(), std::exchange(open.awaited, {})});
      open.deadline = ~TimeMs{0};
      continue;
    }
    --open.tries_left;
    open.deadline = now + facts_.control.timeout_ms;
    if (open.policy == Ids::kFreshEachTry) {
      open.message.message_id = next_id();
      open.ids.push_back(open.message.message_id);
    }
    transmit(open);
  }
  std::erase_if(open_, [](const Open& open) { return open.awaited.empty(); });
}

std::optional<TimeMs> CommandSender::next_deadline() const {
  std::optional<TimeMs> best;
  for (const Open& open : open_) {
    sooner(best, open.deadline);
  }
  return best;
}

std::optional<CommandResult> CommandSender::take_result() {
  if (results_.empty()) {
    return std::nullopt;
  }
  CommandResult result = std::move(results_.front());
  results_.pop_front();
  return result;
}

}  // namespace slipway
