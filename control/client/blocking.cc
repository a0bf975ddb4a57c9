#include "client/blocking.h"

#include <fmt/format.h>

#include <algorithm>

namespace slipway {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::size_t kNotices = 1024;

}  // namespace

template <class Done>
bool BlockingClient::wait(std::uint64_t timeout_ms, Done done) {
  const std::uint64_t until = loop_->refresh_now() + timeout_ms * kMs;
  while (!done()) {
    const std::uint64_t now = loop_->refresh_now();
    if (now >= until) {
      return false;
    }
    loop_->turn(until - now);
  }
  return true;
}

std::expected<std::unique_ptr<BlockingClient>, std::string> BlockingClient::connect(ClientLinkOptions options, const TextName& name, std::uint64_t timeout_ms) {
  std::unique_ptr<BlockingClient> client(new BlockingClient);
  auto loop = Loop::create();
  if (!loop) {
    return std::unexpected(loop.error());
  }
  client->loop_ = std::move(*loop);
  auto link = ClientLink::open(*client->loop_, std::move(options));
  if (!link) {
    return std::unexpected(link.error());
  }
  client->link_ = std::move(*link);
  auto* raw = client.get();
  client->application_ = std::make_unique<ClientApplication>(
      *client->link_, name,
      ClientApplication::Handlers{.on_message =
                                      [raw](const ClientMessage& message) {
                                        if (raw->messages_.size() >= kBlockingMessages) {
                                          ++raw->overflowed_;
                                          return;
                                        }
                                        raw->messages_.push_back({{message.frame().begin(), message.frame().end()}});
                                      },
                                  .on_no_route =
                                      [raw](const NoRouteNotice& notice) {
                                        if (raw->notices_.size() < kNotices) {
                                          raw->notices_.push_back(notice);
                                        }
                                      }});
  if (!client->wait(timeout_ms, [raw] { return raw->link_->up() || raw->link_->phase() == ClientLinkPhase::kClosed; }) || !raw->link_->up()) {
    const auto& trouble = client->link_->last_trouble();
    return std::unexpected(trouble.empty() ? fmt::format("{} did not answer within {} ms", raw->link_->endpoint().text, timeout_ms) : trouble);
  }
  return client;
}

ClientResult BlockingClient::subscribe(const TextName& name, std::uint64_t timeout_ms) {
  // Shared with the callback, which may outlive this call.
  auto result = std::make_shared<std::optional<ClientResult>>();
  const auto id = application_->subscribe(name, [result](ClientResult answer) { *result = std::move(answer); });
  if (!wait(timeout_ms, [&] { return result->has_value(); })) {
    application_->unsubscribe(id);
    return std::unexpected(fmt::format("no answer to the subscription of {} within {} ms", name.text(), timeout_ms));
  }
  if (**result) {
    subscriptions_.emplace_back(name, id);
  }
  return **result;
}

ClientResult BlockingClient::unsubscribe(const TextName& name, std::uint64_t timeout_ms) {
  const auto found = std::find_if(subscriptions_.begin(), subscriptions_.end(), [&](const auto& s) { return s.first == name; });
  if (found == subscriptions_.end()) {
    return std::unexpected(fmt::format("{} is not subscribed", name.text()));
  }
  auto result = std::make_shared<std::optional<ClientResult>>();
  application_->unsubscribe(found->second, [result](ClientResult answer) { *result = std::move(answer); });
  subscriptions_.erase(found);
  if (!wait(timeout_ms, [&] { return result->has_value(); })) {
    return std::unexpected(fmt::format("no answer to the unsubscription of {} within {} ms", name.text(), timeout_ms));
  }
  return **result;
}

ClientResult BlockingClient::publish(const TextName& to, Receivers receivers, std::string_view payload, std::uint64_t timeout_ms) {
  return publish(Destination(*application_, to, receivers), payload, timeout_ms);
}

ClientResult BlockingClient::publish(const Destination& to, std::string_view payload, std::uint64_t timeout_ms) {
  PublishStatus status = PublishStatus::kQueued;
  const bool settled = wait(timeout_ms, [&] {
    status = application_->publish(to, payload);
    return status == PublishStatus::kQueued || status == PublishStatus::kTooBig || link_->phase() == ClientLinkPhase::kClosed;
  });
  if (!settled || status != PublishStatus::kQueued) {
    return std::unexpected(fmt::format("not sent: {}", publish_status_text(status)));
  }
  return {};
}

ClientResult BlockingClient::flush(std::uint64_t timeout_ms) {
  loop_->turn(0);
  if (!wait(timeout_ms, [this] { return link_->queued_bytes() == 0; })) {
    return std::unexpected(fmt::format("{} bytes are still waiting after {} ms", link_->queued_bytes(), timeout_ms));
  }
  return {};
}

std::optional<ReceivedMessage> BlockingClient::receive(std::uint64_t timeout_ms) {
  if (!wait(timeout_ms, [this] { return !messages_.empty(); })) {
    return std::nullopt;
  }
  auto message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

std::optional<NoRouteNotice> BlockingClient::no_route(std::uint64_t timeout_ms) {
  if (!wait(timeout_ms, [this] { return !notices_.empty(); })) {
    return std::nullopt;
  }
  const auto notice = notices_.front();
  notices_.pop_front();
  return notice;
}

std::expected<InstancesAnswer, std::string> BlockingClient::instances(const TextName& service, std::uint64_t timeout_ms) {
  auto result = std::make_shared<std::optional<std::expected<InstancesAnswer, std::string>>>();
  link_->instances(service.hashed(), [result](std::expected<InstancesAnswer, std::string> answer) { *result = std::move(answer); });
  if (!wait(timeout_ms, [&] { return result->has_value(); })) {
    return std::unexpected(fmt::format("no answer within {} ms", timeout_ms));
  }
  return **result;
}

void BlockingClient::run_for(std::uint64_t time_ms) {
  wait(time_ms, [] { return false; });
}

}  // namespace slipway
