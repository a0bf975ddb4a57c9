#include "kept_sessions/kept_sessions.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "channel/key_file.h"
#include "group/secret_bytes.h"
#include "identity/kept_identity.h"

namespace slipway {
namespace {

// Values: session/<key in hexadecimal>/<part>, and who the application is.
constexpr std::string_view kSessionPrefix = "session/";
constexpr std::string_view kIdentityName = "identity";

std::string name_of(std::uint64_t key, std::string_view part) { return fmt::format("{}{:016x}/{}", kSessionPrefix, key, part); }

std::string copy_of(const SharedBytes& bytes) { return {reinterpret_cast<const char*>(bytes->data()), bytes->size()}; }

}  // namespace

std::expected<std::unique_ptr<KeptSessions>, std::string> KeptSessions::open(Loop& loop, KeptSessionsOptions options) {
  auto key = read_sealing_key(options.key_file);
  if (!key) {
    return std::unexpected(key.error());
  }
  auto store = SqliteStore::open(loop, options.file, std::move(*key));
  if (!store) {
    return std::unexpected(store.error());
  }
  std::unique_ptr<KeptSessions> kept(new KeptSessions(std::move(options)));
  kept->store_ = std::move(*store);
  return kept;
}

std::expected<std::shared_ptr<KeptSessions>, std::string> KeptSessions::open_on(std::shared_ptr<LoopThread> thread, KeptSessionsOptions options) {
  auto opened = thread->run([&] { return open(thread->loop(), std::move(options)); });
  if (!opened) {
    return std::unexpected(opened.error());
  }
  return std::shared_ptr<KeptSessions>(opened->release(), [thread](KeptSessions* gone) { thread->run([gone] { delete gone; }); });
}

KeptSessions::~KeptSessions() = default;

void KeptSessions::trouble(const std::string& what) const {
  if (options_.on_trouble) {
    options_.on_trouble(what);
  }
}

std::expected<Identity, IdentityError> KeptSessions::identity(SharedSecretOptions options) {
  std::string kept;
  if (auto loaded = store_->take_loaded(kIdentityName); !loaded.empty()) {
    kept = std::move(loaded.front().second);
  }
  if (!options.key && !kept_key(kept).empty()) {
    auto key = SigningKey::import(kept_key(kept));
    if (!key) {
      return std::unexpected(key.error());
    }
    options.key = std::move(*key);
  }
  if (!options.subject && !kept_subject(kept).empty()) {
    options.subject = kept_subject(kept);
  }
  auto made = shared_secret_identity(std::move(options));
  if (made) {
    std::string keep = kept_identity(*made);
    if (keep != kept) {
      store_->put(kIdentityName, keep, [this](const std::expected<void, std::string>& written) {
        if (!written) {
          trouble("who the application is cannot be kept: " + written.error());
        }
      });
    }
    wipe(keep);
  }
  wipe(kept);
  return made;
}

void KeptSessions::keep(SessionHandle, std::uint64_t key, StoredSession parts) {
  std::vector<std::pair<std::string, std::string>> values;
  for (const auto& [part, bytes] : {std::pair{"record", parts.record}, std::pair{"progress", parts.progress}, std::pair{"group", parts.group}}) {
    if (bytes) {
      values.emplace_back(name_of(key, part), copy_of(bytes));
    }
  }
  if (values.empty()) {
    return;
  }
  ++begun_;
  store_->put_all(std::move(values), [this](const std::expected<void, std::string>& written) {
    ++durable_;  // also when it failed: the other members must go on
    if (!written) {
      trouble("a session is not kept, so that a restart finds an older state: " + written.error());
    }
    if (on_durable_) {
      on_durable_();
    }
  });
}

void KeptSessions::forget(std::uint64_t key) {
  for (const char* const part : {"record", "progress", "group"}) {
    store_->erase(name_of(key, part), {});
  }
}

std::vector<std::pair<std::uint64_t, StoredSession>> KeptSessions::take_kept() {
  std::map<std::uint64_t, StoredSession> sessions;
  for (auto& [name, value] : store_->take_loaded(kSessionPrefix)) {
    const std::string_view rest = std::string_view(name).substr(kSessionPrefix.size());
    std::uint64_t key = 0;
    const auto [end, fault] = std::from_chars(rest.data(), rest.data() + rest.size(), key, 16);
    const std::string_view part = rest.substr(static_cast<std::size_t>(end - rest.data()));
    StoredSession& session = sessions[key];
    (part == "/group" ? session.group : part == "/progress" ? session.progress : session.record) =
        secret_bytes({reinterpret_cast<const std::uint8_t*>(value.data()), value.size()});
    wipe(value);
  }
  return {std::make_move_iterator(sessions.begin()), std::make_move_iterator(sessions.end())};
}

void KeptSessions::not_restored(std::uint64_t key, const std::string& why) {
  forget(key);
  trouble("a session did not come back: " + why);
}

}  // namespace slipway
