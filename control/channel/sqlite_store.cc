#include "channel/sqlite_store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "channel/channel_bounds.h"
#include "crypto/aead.h"
#include "crypto/random.h"

namespace slipway {
namespace {

constexpr char kVersion = 1;
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kHeadBytes = 1 + kNonceBytes;
constexpr int kApplicationId = 0x534C5059;
constexpr std::string_view kCheckName = "check";         // opens with the right key only
constexpr std::string_view kCheckValue = "slipway store";
constexpr std::string_view kSealLabel = "slipway sealed store 1";

const mls::Suite& suite() { return *mls::find_suite(mls::CipherSuite::kP384Aes256Sha384P384); }  // for its AES-256-GCM
mls::View view(std::string_view text) { return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}; }
mls::MutableView mutable_view(std::string& text, std::size_t from = 0) {
  return {reinterpret_cast<std::uint8_t*>(text.data()) + from, text.size() - from};
}

std::string run_sql(sqlite3* database, const char* sql) {
  char* fault = nullptr;
  if (sqlite3_exec(database, sql, nullptr, nullptr, &fault) == SQLITE_OK) {
    return {};
  }
  std::string text = fault != nullptr ? fault : "no memory";
  sqlite3_free(fault);
  return text;
}

}  // namespace

SqliteStore::SqliteStore(Loop& loop, std::string file, mls::Secret key) : loop_(loop), file_(std::move(file)), key_(std::move(key)) {}

std::expected<std::unique_ptr<SqliteStore>, std::string> SqliteStore::open(Loop& loop, const std::string& file, mls::Secret key) {
  std::unique_ptr<SqliteStore> store(new SqliteStore(loop, file, std::move(key)));
  if (auto opened = store->open_file(); !opened) {
    return std::unexpected(opened.error());
  }
  if (auto loaded = store->load(); !loaded) {
    return std::unexpected(loaded.error());
  }
  store->writer_ = std::thread([raw = store.get()] { raw->run(); });
  return store;
}

SqliteStore::~SqliteStore() {
  *alive_ = false;
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  there_.notify_one();
  if (writer_.joinable()) {
    writer_.join();
  }
  sqlite3_finalize(put_);
  sqlite3_finalize(erase_);
  sqlite3_close(database_);
  for (auto& [name, value] : loaded_) {
    mls::wipe(mutable_view(value));
  }
}

std::expected<void, std::string> SqliteStore::open_file() {
  const auto fail = [&](const std::string& why) { return std::unexpected("cannot use the channel store " + file_ + ": " + why); };
  const int fd = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return fail(std::strerror(errno));
  }
  struct stat status {};
  const bool known = fstat(fd, &status) == 0;
  ::close(fd);
  if (!known || !S_ISREG(status.st_mode)) {
    return fail("it is no file");
  }
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return fail("others can read or change it: chmod 0600 " + file_);
  }
  const bool fresh = status.st_size == 0;
  if (sqlite3_open_v2(file_.c_str(), &database_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) {
    return fail(database_ == nullptr ? "no memory" : sqlite3_errmsg(database_));
  }
  // One process: the lock is held until the end.
  std::string fault = run_sql(database_, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; BEGIN IMMEDIATE; COMMIT;");
  if (sqlite3_errcode(database_) == SQLITE_BUSY) {
    return fail("another process uses it");
  }
  if (fault.empty() && fresh) {
    fault = run_sql(database_, "CREATE TABLE item (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID");
    if (fault.empty()) {
      fault = run_sql(database_, ("PRAGMA application_id=" + std::to_string(kApplicationId) + "; PRAGMA user_version=1").c_str());
    }
  }
  if (!fault.empty()) {
    return fail(fault + (sqlite3_errcode(database_) == SQLITE_NOTADB || sqlite3_errcode(database_) == SQLITE_CORRUPT
                             ? ": it is damaged, or no store; restore it from a backup, or begin with another file"
                             : ""));
  }
  if (sqlite3_prepare_v2(database_, "INSERT INTO item VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2", -1, &put_, nullptr) != SQLITE_OK ||
      sqlite3_prepare_v2(database_, "DELETE FROM item WHERE name = ?1", -1, &erase_, nullptr) != SQLITE_OK) {
    return fail(std::string(sqlite3_errmsg(database_)) + ": it is damaged, or no store of this node");
  }
  if (fresh) {
    Changes check;
    check.push_back({.name = std::string(kCheckName), .value = std::string(kCheckValue), .erase = false, .done = {}, .bytes = 0});
    fault = write(check);
    if (!fault.empty()) {
      return fail(fault);
    }
  }
  return {};
}

std::expected<void, std::string> SqliteStore::load() {
  const auto fail = [&](const std::string& why) { return std::unexpected("cannot use the channel store " + file_ + ": " + why); };
  sqlite3_stmt* all = nullptr;
  if (sqlite3_prepare_v2(database_, "SELECT name, value FROM item", -1, &all, nullptr) != SQLITE_OK) {
    return fail(sqlite3_errmsg(database_));
  }
  const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> end(all, sqlite3_finalize);
  std::string unreadable;
  bool checked = false;
  bool any_opened = false;
  int step = sqlite3_step(all);
  for (; step == SQLITE_ROW; step = sqlite3_step(all)) {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(all, 0));
    const std::string name(text == nullptr ? "" : text, static_cast<std::size_t>(sqlite3_column_bytes(all, 0)));
    const auto* bytes = static_cast<const char*>(sqlite3_column_blob(all, 1));
    const std::string_view sealed(bytes == nullptr ? "" : bytes, static_cast<std::size_t>(sqlite3_column_bytes(all, 1)));
    std::string value;
    if (!unseal(name, sealed, value)) {
      unreadable = name;
    } else if (any_opened = true; name == kCheckName) {
      checked = value == kCheckValue;
    } else {
      loaded_[name] = std::move(value);
    }
  }
  if (step != SQLITE_DONE) {
    return fail(std::string(sqlite3_errmsg(database_)) + ": it is damaged; restore it from a backup, or begin with another file");
  }
  if (!checked && !any_opened) {
    return fail("the key does not fit it: it was sealed with another one");
  }
  if (!checked || !unreadable.empty()) {
    return fail("the value `" + (unreadable.empty() ? std::string(kCheckName) : unreadable) +
                "` does not open: it is damaged; restore it from a backup, or begin with another file");
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> SqliteStore::take_loaded(std::string_view prefix) {
  std::vector<std::pair<std::string, std::string>> out;
  for (auto at = loaded_.lower_bound(std::string(prefix)); at != loaded_.end() && at->first.starts_with(prefix);) {
    out.emplace_back(at->first, std::move(at->second));
    at = loaded_.erase(at);
  }
  return out;
}

// --- sealing -----------------------------------------------------------------------------------------------------

std::string SqliteStore::seal(const std::string& name, std::string_view value) const {
  std::string out(kHeadBytes + value.size() + kTagBytes, '\0');
  out[0] = kVersion;
  if (!mls::system_random().fill_public(mutable_view(out).subspan(1, kNonceBytes))) {
    return {};
  }
  const std::string nonce = out.substr(1, kNonceBytes);
  const auto sealed = mls::aead_seal(suite(), key_, view(nonce), {view(kSealLabel), view(name)}, view(value), mutable_view(out, kHeadBytes));
  return sealed ? out : std::string();
}

bool SqliteStore::unseal(const std::string& name, std::string_view sealed, std::string& value) const {
  if (sealed.size() < kHeadBytes + kTagBytes || sealed[0] != kVersion) {
    return false;
  }
  value.resize(sealed.size() - kHeadBytes - kTagBytes);
  return mls::aead_open(suite(), key_, view(sealed.substr(1, kNonceBytes)), {view(kSealLabel), view(name)}, view(sealed.substr(kHeadBytes)),
                        mutable_view(value))
      .has_value();
}

// --- writing -------------------------------------------------------------------------------------------------------

void SqliteStore::put(std::string_view name, std::string_view value, Done done) {
  Changes one;
  one.push_back({.name = std::string(name), .value = std::string(value), .erase = false, .done = std::move(done), .bytes = name.size() + value.size()});
  queue(std::move(one));
}

void SqliteStore::erase(std::string_view name, Done done) {
  Changes one;
  one.push_back({.name = std::string(name), .value = {}, .erase = true, .done = std::move(done), .bytes = name.size()});
  queue(std::move(one));
}

void SqliteStore::put_all(std::vector<std::pair<std::string, std::string>> values, Done done) {
  Changes all;
  for (auto& [name, value] : values) {
    const std::size_t bytes = name.size() + value.size();
    all.push_back({.name = std::move(name), .value = std::move(value), .erase = false, .done = {}, .bytes = bytes});
  }
  if (!all.empty()) {
    all.back().done = std::move(done);
    queue(std::move(all));
  }
}

// What is queued together is written in one transaction.
void SqliteStore::queue(Changes changes) {
  std::string fault;
  std::size_t bytes = 0;
  for (const Change& change : changes) {
    bytes += change.bytes;
    if (change.name.empty() || change.name.size() > kMaxStoreNameBytes || change.value.size() > kMaxStoreValueBytes) {
      fault = "the value " + change.name.substr(0, 64) + " is too large for the store";
    }
  }
  if (fault.empty() && counters_.waiting_bytes + bytes > kMaxStoreWaitingBytes) {
    fault = "the disk is too slow for the store: too much waits";
  }
  if (!fault.empty()) {
    for (Change& change : changes) {
      ++counters_.failed;
      mls::wipe(mutable_view(change.value));
      if (change.done) {
        loop_.defer([done = std::move(change.done), fault]() mutable { done(std::unexpected(fault)); });
      }
    }
    return;
  }
  counters_.waiting_bytes += bytes;
  {
    const std::scoped_lock lock(mutex_);
    for (Change& change : changes) {
      waiting_.push_back(std::move(change));
    }
  }
  there_.notify_one();
}

void SqliteStore::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    there_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) {
      return;
    }
    auto changes = std::make_shared<Changes>(std::exchange(waiting_, {}));
    const bool ending = ending_;
    lock.unlock();
    std::string fault = write(*changes);
    while (!ending && !loop_.post([this, alive = std::weak_ptr(alive_), changes, fault] {
      if (const auto still = alive.lock(); still && *still) {
        finish(*changes, fault);
      }
    })) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the loop has very much to do
      const std::scoped_lock again(mutex_);
      if (ending_) {
        break;
      }
    }
    lock.lock();
  }
}

// All or nothing. Clear values are wiped whatever comes of it.
std::string SqliteStore::write(Changes& changes) {
  std::string fault = run_sql(database_, "BEGIN IMMEDIATE");
  std::map<std::string_view, std::size_t> last;  // of several values of one name the last counts
  for (std::size_t i = 0; i < changes.size(); ++i) {
    last[changes[i].name] = i;
  }
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Change& change = changes[i];
    if (fault.empty() && last.at(change.name) == i) {
      sqlite3_stmt* const statement = change.erase ? erase_ : put_;
      const std::string sealed = change.erase ? std::string() : seal(change.name, change.value);
      sqlite3_bind_text(statement, 1, change.name.data(), static_cast<int>(change.name.size()), SQLITE_STATIC);
      if (!change.erase) {
        sqlite3_bind_blob64(statement, 2, sealed.data(), sealed.size(), SQLITE_STATIC);
      }
      if (!change.erase && sealed.empty()) {
        fault = "cannot seal: no random numbers or no memory";
      } else if (sqlite3_step(statement) != SQLITE_DONE) {
        fault = sqlite3_errmsg(database_);
      }
      sqlite3_reset(statement);
      sqlite3_clear_bindings(statement);
    }
    mls::wipe(mutable_view(change.value));
    change.value.clear();
  }
  if (fault.empty()) {
    fault = run_sql(database_, "COMMIT");
  }
  if (!fault.empty()) {
    (void)run_sql(database_, "ROLLBACK");
  }
  return fault;
}

void SqliteStore::finish(Changes& changes, const std::string& fault) {
  for (Change& change : changes) {
    counters_.waiting_bytes -= change.bytes;
    ++(fault.empty() ? counters_.written : counters_.failed);
    if (change.done) {
      change.done(fault.empty() ? std::expected<void, std::string>() : std::unexpected("cannot write the channel store " + file_ + ": " + fault));
    }
  }
}

}  // namespace slipway
