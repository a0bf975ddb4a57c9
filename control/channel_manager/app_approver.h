#pragma once
// Asks owners over SLIM: a unary call of upstream's slim-rpc to the owner's callback name, in a unicast session with MLS of an
// application of the node's own (`<local name>-approval`). Each question has its session; it is closed when the answer is there.
//
// slim-rpc on the wire: the request is a message of type "msg" whose metadata name service, method and call; behind it comes
// an empty one with status 0, the end. Answers carry the call's id; a status other than 0, or an empty message with one, is an end.
//
// Control thread.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "app/app.h"
#include "channel_manager/owner_approver.h"

namespace slipway {

class AppApprover final : public OwnerApprover {
 public:
  // `app` outlives it. `timeout_ms`: for everything, from the search for the owner to its answer.
  AppApprover(App& app, std::uint64_t timeout_ms);
  ~AppApprover() override;
  AppApprover(const AppApprover&) = delete;
  AppApprover& operator=(const AppApprover&) = delete;

  void ask(const TextName& callback, const ApprovalRequest& request, Done done) override;
  [[nodiscard]] std::size_t asking() const { return calls_.size(); }

 private:
  struct Call {
    std::string id;                       // of the call on the wire
    std::string request;
    std::shared_ptr<AppSession> session;  // null: not yet there
    TimerId timer = TimerId::kNone;
    Done done;
  };
  using CallNumber = std::uint64_t;

  void on_session(CallNumber number, std::expected<std::shared_ptr<AppSession>, AppError> session);
  void send(CallNumber number, Call& call);
  void on_message(CallNumber number, const AppMessage& message);
  void finish(CallNumber number, ApprovalOutcome outcome);
  void fail(CallNumber number, const std::string& why);

  App& app_;
  std::uint64_t timeout_ms_;
  CallNumber last_ = 0;
  std::map<CallNumber, Call> calls_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace slipway
