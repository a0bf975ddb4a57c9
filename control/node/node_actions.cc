// What an operator asks for through the control API.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "api/pcapng.h"
#include "node/node.h"

namespace slipway {

void Node::stop(std::optional<std::uint32_t> drain_ms) {
  // After the answer has left.
  loop_->defer([this, drain_ms] { begin_stop(drain_ms, "asked to stop by the control API"); });
}

std::expected<void, ApiFault> Node::set_log_level(const std::string& level) {
  if (!Log::known_level(level)) {
    return std::unexpected(ApiFault{400, fmt::format("`{}` is no log level", level), "trace, debug, info, warn, error or off"});
  }
  log_.info(fmt::format("log level {} from now on", level));
  log_.set_level(level);
  settings_.log_level = level;
  return {};
}

const NodeLink* Node::link_of(const std::string& to) const {
  for (const auto& target : links_->targets()) {
    if (target.name == to && target.state == LinkTarget::State::kUp) {
      return links_->table().find(target.link);
    }
  }
  std::uint32_t number = 0;
  const auto [end, fault] = std::from_chars(to.data(), to.data() + to.size(), number);
  return fault == std::errc{} && end == to.data() + to.size() ? links_->table().find(number) : nullptr;
}

std::expected<void, ApiFault> Node::route(bool add, const TextName& name, const std::string& to) {
  const bool target = std::ranges::any_of(links_->targets(), [&](const auto& t) { return t.name == to && t.state != LinkTarget::State::kRemoved; });
  const NodeLink* link = link_of(to);
  if (!target && link == nullptr) {
    return std::unexpected(ApiFault{404, fmt::format("there is no link `{}`", to), "give the name of a `connect` entry or the number of a link: see `slipwayctl links`"});
  }
  const auto same = [&](const ManualRoute& r) { return r.name == name && r.to == to; };
  const bool known = std::ranges::any_of(manual_routes_, same);
  if (link != nullptr && link->record.state == LinkState::kUp) {
    const auto done = add ? subscriptions_->add_static(link->record.index, name) : subscriptions_->remove_static(link->record.index, name);
    if (!done && !(known && !add)) {
      return std::unexpected(ApiFault{409, done.error(), "see `slipwayctl routes`"});
    }
  } else if (!add && !known) {
    return std::unexpected(ApiFault{404, fmt::format("there is no static route {} over `{}`", name.text(), to), "see `slipwayctl routes`"});
  }
  if (!add) {
    std::erase_if(manual_routes_, same);
  } else if (target && !known) {
    manual_routes_.push_back({name, to});  // set again whenever the link comes back
  }
  return {};
}

std::expected<void, ApiFault> Node::close_link(std::uint32_t link) {
  const NodeLink* known = links_->table().find(link);
  if (known == nullptr || known->record.state == LinkState::kClosing) {
    return std::unexpected(ApiFault{404, fmt::format("there is no link {}", link), "see `slipwayctl links`"});
  }
  if (known->record.transport == LinkTransport::kControl) {
    return std::unexpected(ApiFault{409, fmt::format("link {} is the node's own", link), "its channels live as long as the node: see `slipwayctl channel list`"});
  }
  links_->close(link, "closed by an operator", now_ms());
  return {};
}

std::expected<std::shared_ptr<ResponseStream>, ApiFault> Node::watch(const WatchRequest& request, Watcher& watcher, Command command) {
  if (watcher.stream) {
    return std::unexpected(ApiFault{409, "one is running already", "wait for it to end, or stop it"});
  }
  watcher.stream = std::make_shared<ResponseStream>();
  watcher.left = request.filter.count;
  watcher.bytes_left = request.limit_bytes;
  watcher.stream->on_end = [this, &watcher, command] { end_watch(watcher, command); };  // its reader left
  watcher.deadline = loop_->after(request.limit_ms * 1'000'000, [this, &watcher, command] {
    watcher.deadline = TimerId::kNone;
    end_watch(watcher, command);
  });
  fleet_->post_all(command, request.filter);
  return watcher.stream;
}

std::expected<std::shared_ptr<ResponseStream>, ApiFault> Node::trace(const WatchRequest& request) { return watch(request, trace_, Command::kTrace); }

std::expected<std::shared_ptr<ResponseStream>, ApiFault> Node::capture(const WatchRequest& request) {
  auto stream = watch(request, capture_, Command::kCapture);
  if (stream) {
    loop_->defer([s = *stream] { s->write(pcapng_begin(fmt::format("slipwayd {}", SLIPWAY_VERSION))); });
  }
  return stream;
}

}  // namespace slipway
