#include "channel_manager/app_approver.h"

#include <fmt/format.h>

#include <ctime>
#include <utility>

#include "edge/uuid.h"

namespace slipway {
namespace {

using namespace std::chrono_literals;

constexpr const char* kService = "channel_manager.proto.v1.ChannelOwnerApproval";
constexpr const char* kMethod = "RequestApproval";

// Metadata of slim-rpc.
constexpr const char* kServiceKey = "service";
constexpr const char* kMethodKey = "method";
constexpr const char* kCallKey = "rpc-id";
constexpr const char* kDirectionKey = "slimrpc-dir";
constexpr const char* kFromClient = "req";
constexpr const char* kDeadlineKey = "slimrpc-timeout";   // Unix seconds
constexpr const char* kStatusKey = "slimrpc-code";        // of the last message
constexpr const char* kOk = "0";

constexpr auto kRepeatAfter = 1'000ms;   // as upstream's calls
constexpr std::uint32_t kRepeats = 10;
constexpr std::uint64_t kNsPerMs = 1'000'000;

std::uint64_t unix_s() { return static_cast<std::uint64_t>(std::time(nullptr)); }

}  // namespace

AppApprover::AppApprover(App& app, std::uint64_t timeout_ms) : app_(app), timeout_ms_(timeout_ms) {}

AppApprover::~AppApprover() {
  for (auto& [number, call] : calls_) {
    app_.loop().cancel(call.timer);
    if (call.session != nullptr) {
      (void)call.session->close();
    }
  }
}

void AppApprover::ask(const TextName& callback, const ApprovalRequest& request, Done done) {
  const CallNumber number = ++last_;
  auto& call = calls_[number];
  call.id = random_uuid();
  call.request = encode_approval_request(request);
  call.done = std::move(done);
  call.timer = app_.loop().after(timeout_ms_ * kNsPerMs, [this, number] {
    calls_.at(number).timer = TimerId::kNone;
    finish(number, ApprovalTimedOut{});
  });
  const auto created = app_.create_session(UnicastOptions{.peer = callback, .timeout = kRepeatAfter, .max_retries = kRepeats, .mls_enabled = true, .metadata = {}},
                                           [this, alive = std::weak_ptr(alive_), number](auto session) {
                                             if (!alive.expired()) {
                                               on_session(number, std::move(session));
                                             } else if (session) {
                                               (void)(*session)->close();
                                             }
                                           });
  if (!created) {
    app_.loop().defer([this, alive = std::weak_ptr(alive_), number, why = created.error().message()] {
      if (!alive.expired()) {
        fail(number, why);
      }
    });
  }
}

void AppApprover::on_session(CallNumber number, std::expected<std::shared_ptr<AppSession>, AppError> session) {
  const auto at = calls_.find(number);
  if (!session) {
    fail(number, session.error().message());
    return;
  }
  if (at == calls_.end()) {  // the owner came when nobody waited any more
    (void)(*session)->close();
    return;
  }
  at->second.session = std::move(*session);
  at->second.session->on_message([this, alive = std::weak_ptr(alive_), number](const AppMessage& message) {
    if (!alive.expired()) {
      on_message(number, message);
    }
  });
  at->second.session->on_event([this, alive = std::weak_ptr(alive_), number](const SessionEvent& event) {
    if (!alive.expired() && std::holds_alternative<SessionClosed>(event)) {
      fail(number, "the owner ended the session without an answer");
    }
  });
  send(number, at->second);
}

void AppApprover::send(CallNumber number, Call& call) {
  const auto undelivered = [this, alive = std::weak_ptr(alive_), number](std::expected<Outcome, AppError> sent) {
    if (!alive.expired() && (!sent || !sent->undelivered.empty())) {
      fail(number, sent ? "the owner did not take the request" : sent.error().message());
    }
  };
  const auto deadline_s = std::to_string(unix_s() + timeout_ms_ / 1'000);
  auto asked = call.session->publish(shared_bytes(call.request),
                                     {.payload_type = "msg",
                                      .metadata = {{kServiceKey, kService}, {kMethodKey, kMethod}, {kCallKey, call.id}, {kDirectionKey, kFromClient},
                                                   {kDeadlineKey, deadline_s}}},
                                     undelivered);
  if (asked) {
    asked = call.session->publish(shared_bytes({}), {.payload_type = "msg", .metadata = {{kStatusKey, kOk}, {kCallKey, call.id}, {kDirectionKey, kFromClient}}},
                                  undelivered);
  }
  if (!asked) {
    fail(number, asked.error().message());
  }
}

void AppApprover::on_message(CallNumber number, const AppMessage& message) {
  const auto at = calls_.find(number);
  if (at == calls_.end()) {
    return;
  }
  const auto call = message.metadata.find(kCallKey);
  if (call == message.metadata.end() || call->second != at->second.id) {
    return;
  }
  const auto text = text_of(message.payload);
  const auto status = message.metadata.find(kStatusKey);
  if (status != message.metadata.end() && status->second != kOk) {
    fail(number, fmt::format("status {}: {}", status->second, text.substr(0, 1'024)));
    return;
  }
  if (status != message.metadata.end() && text.empty()) {
    fail(number, "No response received");
    return;
  }
  auto decision = decode_approval_response(std::as_bytes(std::span(text)));
  finish(number, decision ? ApprovalOutcome(*std::move(decision)) : ApprovalOutcome(ApprovalFailed{"malformed approval response: " + decision.error()}));
}

void AppApprover::fail(CallNumber number, const std::string& why) { finish(number, ApprovalFailed{"approval call failed: " + why}); }

void AppApprover::finish(CallNumber number, ApprovalOutcome outcome) {
  auto call = calls_.extract(number);
  if (call.empty()) {
    return;
  }
  app_.loop().cancel(call.mapped().timer);
  if (call.mapped().session != nullptr) {
    call.mapped().session->on_message({});
    call.mapped().session->on_event({});
    (void)call.mapped().session->close();
  }
  call.mapped().done(std::move(outcome), unix_s());
}

}  // namespace slipway
