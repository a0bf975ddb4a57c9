#pragma once
// Asks the owner of a channel, live, whether a change that nobody signed may be made (upstream-control 7.1). Control thread.

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include "channel_manager/manager_messages.h"
#include "frame/name.h"

namespace slipway {

struct ApprovalTimedOut {};   // no answer within kApprovalMs
struct ApprovalFailed {
  std::string why;
};
using ApprovalOutcome = std::variant<ApprovalDecision, ApprovalTimedOut, ApprovalFailed>;

class OwnerApprover {
 public:
  virtual ~OwnerApprover() = default;
  // With the time that it is then, in Unix seconds.
  using Done = std::move_only_function<void(ApprovalOutcome, std::uint64_t now_s)>;
  // `done` runs once, in a later turn, within kApprovalMs and some.
  virtual void ask(const TextName& callback, const ApprovalRequest& request, Done done) = 0;
};

}  // namespace slipway
