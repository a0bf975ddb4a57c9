#pragma once
// An application's sessions in a file, so that it comes back into them after it was killed.
//
//   auto kept = KeptSessions::open(*loop, {.file = "alice.sessions", .key_file = "alice.key"}).value();
//   auto identity = kept->identity({.base = "org/team/alice", .secret = secret}).value();
//   auto app = App::create(*loop, {.name = …, .identity = identity, .keeper = kept.get()}, {.on_session = …}).value();
//
// What was kept comes as sessions that others open do: on_session, or take_session. A session that moderates renews its keys,
// a member asks its moderator to be let in again; messages that were delivered shortly before may be delivered once more, and what
// nobody had acknowledged is not sent again (SessionLayer::restore). Anycast sessions, and those that are not set up, are not kept.
//
// The file is an SQLite store; each value in it is sealed with AES-256-GCM by a key of 32 bytes (or 64 hexadecimal digits) from another
// file that nobody else may read: `head -c 32 /dev/urandom >alice.key; chmod 600 alice.key`. One process a file. What an application says
// leaves only when what it says about its sessions is on the disk.
//
// Threads: the loop's, as the App; `identity` also from another before the App is made. It outlives the App. With a LoopThread, `open_on`.

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "app/app.h"
#include "app/loop_thread.h"
#include "channel/sqlite_store.h"
#include "identity/shared_secret.h"

namespace slipway {

struct KeptSessionsOptions {
  std::string file;      // made if it is not there
  std::string key_file;
  // Something could not be written, or a session did not come back; a sentence for people. The application goes on.
  std::function<void(const std::string&)> on_trouble;
};

class KeptSessions final : public SessionKeeper {
 public:
  // The errors are for people: no such directory, modes, another process, wrong key, damaged.
  static std::expected<std::unique_ptr<KeptSessions>, std::string> open(Loop& loop, KeptSessionsOptions options);
  // From any thread but the loop's; it is let go on the loop's.
  static std::expected<std::shared_ptr<KeptSessions>, std::string> open_on(std::shared_ptr<LoopThread> thread, KeptSessionsOptions options);
  ~KeptSessions() override;

  // An identity with a shared secret, the same each time: others know an application by its id, and its groups by its key. What the
  // options say of subject and key comes first. Identities with tokens of their own and a key in a file are the same anyway.
  std::expected<Identity, IdentityError> identity(SharedSecretOptions options);

  void keep(SessionHandle session, std::uint64_t key, StoredSession parts) override;
  void forget(std::uint64_t key) override;
  std::vector<std::pair<std::uint64_t, StoredSession>> take_kept() override;
  void not_restored(std::uint64_t key, const std::string& why) override;
  [[nodiscard]] std::uint64_t begun() const override { return begun_; }
  [[nodiscard]] std::uint64_t durable() const override { return durable_; }
  void on_durable(std::function<void()> call) override { on_durable_ = std::move(call); }

 private:
  explicit KeptSessions(KeptSessionsOptions options) : options_(std::move(options)) {}
  void trouble(const std::string& what) const;

  KeptSessionsOptions options_;
  std::unique_ptr<SqliteStore> store_;
  std::function<void()> on_durable_;
  std::uint64_t begun_ = 0;
  std::uint64_t durable_ = 0;
};

}  // namespace slipway
