#pragma once
// Upstream's channel-manager service over the channels that this node hosts (channel_manager.proto.v1.ChannelManagerService,
// upstream-control 7, upstream-session 14): what `slimctl channel-manager` speaks. A request's failure is in its answer, in upstream's
// words; only what is no request at all ends with a gRPC status.
//
// No sockets, no clock: requests and Unix seconds come in. Control thread. An answer may come in a later turn; it comes also
// when nobody waits any more. Bounded: kManagerOperations requests under way.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "channel/channels.h"
#include "channel_manager/channel_manager_policy.h"
#include "channel_manager/manager_records.h"
#include "channel_manager/owner_approver.h"

namespace slipway {

inline constexpr const char* kChannelManagerPath = "/channel_manager.proto.v1.ChannelManagerService/";

struct ManagerCallError {
  int grpc_status = 0;
  std::string why;
};

struct ManagerCounters {
  std::uint64_t requests = 0;
  std::uint64_t refused = 0;           // by a rule of owners, signatures or grants
  std::uint64_t malformed = 0;
  std::uint64_t approvals_asked = 0;
  std::uint64_t expired = 0;           // channels
};

class ChannelManager {
 public:
  using Answer = std::move_only_function<void(std::expected<std::string, ManagerCallError>)>;
  using Log = std::function<void(std::string)>;

  // `store` and `approver` may be null: then nothing survives the process, and nobody can be asked. All outlive this.
  ChannelManager(Channels& channels, SealedStore* store, OwnerApprover* approver, ManagerPolicy policy, Log log);
  ChannelManager(const ChannelManager&) = delete;
  ChannelManager& operator=(const ChannelManager&) = delete;

  // Owners, ends and used nonces of the last run; when the channels have been restored.
  std::expected<void, std::string> load(std::uint64_t now_s);

  // `method`: "CreateChannel" and so on. `caller`: who asks, for logs and owners; may be empty.
  void handle(std::string_view method, std::span<const std::byte> request, const std::string& caller, std::uint64_t now_s, Answer answer);
  // Channels whose time is over are closed and forgotten. Call it every kExpirySweepMs, and once at the start.
  void sweep(std::uint64_t now_s);
  void on_event(const ChannelEvent& event);

  void set_policy(ManagerPolicy policy) { policy_ = std::move(policy); }
  [[nodiscard]] const ManagerCounters& counters() const { return counters_; }
  [[nodiscard]] std::optional<std::string> owner(const std::string& channel) const;

 private:
  using Result = std::move_only_function<void(std::expected<void, std::string>)>;  // of a command

  void create(CreateChannelRequest request, const std::string& caller, std::uint64_t now_s, Result done);
  void create_now(CreateChannelRequest request, std::optional<std::string> owner, const std::string& caller, std::uint64_t now_s, Result done);
  void remove(DeleteChannelRequest request, const std::string& caller, std::uint64_t now_s, Result done);
  void change(ParticipantRequest request, GrantAction action, const std::string& caller, std::uint64_t now_s, Result done);
  void ask_owner(const ChannelRecord& record, ParticipantChange change, const std::string& caller, Result done);
  void use_grant(const ParticipantChange& change, std::string_view grant, const std::string& caller, std::uint64_t now_s, Result done);
  void change_now(const ParticipantChange& change, const std::string& caller, Result done);
  void spend(std::optional<Spend> spend, std::uint64_t now_s, Result done);
  [[nodiscard]] std::string list_channels() const;
  [[nodiscard]] std::expected<std::vector<std::string>, std::string> list_participants(const std::string& channel) const;
  [[nodiscard]] bool exists(const std::string& channel) const;
  Answer tracked(Answer answer);

  Channels& channels_;
  OwnerApprover* approver_;
  ManagerPolicy policy_;
  Log log_;
  ManagerRecords records_;
  ManagerCounters counters_;
  std::set<std::string> creating_;
  std::size_t under_way_ = 0;
  std::size_t asking_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace slipway
