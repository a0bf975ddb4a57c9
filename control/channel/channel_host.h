#pragma once
// The node's channels, on the endpoint library: the node is an application like others, that neither sends nor receives data, and
// whose connection is a LocalConnection. It never subscribes a channel's data, so that no member's message comes to the control
// thread; what comes is what members say to their moderator.
//
// Reconciling. Channels of the configuration file are made at the start, and whoever is listed and not in is invited until it is:
// again and again, ever later (kInviteAgainMs).
//
// Store. What a commit changed is on the disk before the commit leaves: the connection holds what is sent after it. After a restart
// each channel goes on under the moderator that it had, with new keys first.
//
// Control thread.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/app.h"
#include "channel/channel_record.h"
#include "channel/channels.h"
#include "channel/hosted_channel.h"
#include "channel/local_connection.h"
#include "channel/sealed_store.h"

namespace slipway {

struct ChannelHostOptions {
  TextName local_name;
  Identity identity;
  IdentityBinding binding = IdentityBinding::kWarn;
  std::uint32_t limit = 0;
  bool file_managed = false;               // `hosted` is all there is
  std::vector<HostedChannel> hosted;
  SealedStore* store = nullptr;            // null: channels end with the node
  std::function<void()> between_steps;     // see MlsGroupOptions
  std::function<void(bool bad, std::string)> log;
};

class ChannelHost final : public Channels, private SessionKeeper {
 public:
  // The connection's other side is the node's. The error is for whoever started the node.
  static std::expected<std::unique_ptr<ChannelHost>, std::string> create(Loop& loop, std::shared_ptr<LocalConnection> connection, ChannelHostOptions options);
  ~ChannelHost() override;

  void create(const TextName& channel, const ChannelOptions& options, const ChannelAsker& asker, Done done) override;
  void remove(const TextName& channel, const ChannelAsker& asker, Done done) override;
  void invite(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) override;
  void remove_participant(const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done) override;
  [[nodiscard]] std::vector<ChannelRow> list() const override;
  [[nodiscard]] std::expected<ChannelRow, ChannelError> show(const TextName& channel) const override;
  [[nodiscard]] bool file_managed() const override { return options_.file_managed; }
  [[nodiscard]] TextName local_name() const override;
  [[nodiscard]] const ChannelCounters& counters() const override { return counters_; }
  void on_event(std::function<void(const ChannelEvent&)> listener) override { listener_ = std::move(listener); }

  // Nothing new is taken; channels stay as they are, for the store or to be missed by their members.
  void stop() { stopping_ = true; }
  [[nodiscard]] const App& app() const { return *app_; }

 private:
  struct Key {  // a channel's three parts
    std::array<std::string, 3> part;
    auto operator<=>(const Key&) const = default;
  };
  struct Wish {  // of the configuration file: somebody who is to be in
    TextName who;
    bool asked = false;        // an invite is under way
    std::uint64_t wait_ms = 0; // before the next
    TimerId timer = TimerId::kNone;
  };
  struct Channel {
    TextName name;
    bool mls = true;
    std::string created_by;
    std::uint64_t created_s = 0;
    bool from_file = false;
    bool restored = false;
    bool closing = false;
    std::uint32_t waiting = 0;
    std::shared_ptr<AppSession> session;   // null: not yet there
    std::deque<std::move_only_function<void(Channel&)>> early;  // calls before it was
    std::vector<Done> closed;              // who waits for its end
    std::map<std::string, Wish> wishes;    // by text
    std::uint64_t store_key = 0;           // of its session; 0: it has not been kept yet
    StoredSession kept;                    // as it was kept last, without the group
  };
  using Result = std::expected<void, ChannelError>;

  ChannelHost(Loop& loop, ChannelHostOptions options);
  void keep(SessionHandle session, std::uint64_t key, StoredSession parts) override;
  void forget(std::uint64_t key) override;
  std::expected<void, std::string> take_up_stored();
  std::expected<void, std::string> take_up(const TextName& name, const ChannelAbout& about, std::string_view session, std::string_view group);
  void reconcile();
  void begin_hosting(const HostedChannel& hosted);
  void save_about(const Channel& channel);
  void erase_all(const TextName& name);
  void stored(const std::string& what, const std::expected<void, std::string>& result);
  void close(Channel& channel);
  std::expected<void, std::string> open(std::shared_ptr<LocalConnection> connection);
  static Key key_of(const TextName& name) { return {name.component}; }
  void answer(Done done, Result result);
  void refuse(Done done, ChannelFault fault, std::string about);
  [[nodiscard]] Channel* find(const TextName& name);
  // The channel, if it may be changed; else the refusal has been told.
  Channel* to_change(const char* doing, const TextName& name, bool from_file, Done& done);
  void make(const TextName& name, bool mls, std::string asker, bool from_file, Done done);
  void change(const char* doing, bool in, const TextName& channel, const TextName& participant, const ChannelAsker& asker, Done done);
  void begin_change(Channel& channel, bool in, const TextName& participant, Done done);
  void on_session_event(const Key& key, const SessionEvent& event);
  void gone(const Key& key);
  void wish(Channel& channel, const TextName& who);
  void ask(const Key& key, const std::string& who);
  void tell(ChannelEvent event);
  [[nodiscard]] ChannelRow row_of(const Channel& channel, bool members) const;

  Loop& loop_;
  ChannelHostOptions options_;
  std::shared_ptr<LocalConnection> connection_;
  std::unique_ptr<App> app_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::map<Key, Channel> channels_;
  std::function<void(const ChannelEvent&)> listener_;
  ChannelCounters counters_;
  bool stopping_ = false;
};

}  // namespace slipway
