#pragma once
// The sealed store in an SQLite file. One process a file; the file is its user's alone.
//
// What comes in is written by a thread of its own, all that waits in one transaction, with everything on the disk before `done`
// runs. Values are sealed there, and wiped. A value holds: version, nonce, ciphertext, tag; sealed with its name as additional data,
// so that values cannot change places. Who can write the file could put back an older value: users must be able to stand that.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "channel/sealed_store.h"
#include "crypto/secret.h"
#include "loop/loop.h"

struct sqlite3;
struct sqlite3_stmt;

namespace slipway {

struct StoreCounters {
  std::uint64_t written = 0;   // values, as done
  std::uint64_t failed = 0;
  std::size_t waiting_bytes = 0;
};

class SqliteStore final : public SealedStore {
 public:
  // Makes the file if there is none. Reads and opens everything. The error is for whoever starts the node: no such directory, mode,
  // another process, wrong key, damaged.
  static std::expected<std::unique_ptr<SqliteStore>, std::string> open(Loop& loop, const std::string& file, mls::Secret key);
  ~SqliteStore() override;  // what waits is written first; no `done` runs any more

  void put(std::string_view name, std::string_view value, Done done) override;
  void erase(std::string_view name, Done done) override;
  void put_all(std::vector<std::pair<std::string, std::string>> values, Done done) override;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> take_loaded(std::string_view prefix) override;
  [[nodiscard]] const StoreCounters& counters() const { return counters_; }

 private:
  struct Change {
    std::string name;
    std::string value;     // in clear until it is written
    bool erase = false;
    Done done;
    std::size_t bytes = 0;
  };
  using Changes = std::vector<Change>;

  SqliteStore(Loop& loop, std::string file, mls::Secret key);
  std::expected<void, std::string> open_file();
  std::expected<void, std::string> load();
  void queue(Changes changes);
  void run();
  std::string write(Changes& changes);   // empty: done
  void finish(Changes& changes, const std::string& fault);
  [[nodiscard]] std::string seal(const std::string& name, std::string_view value) const;
  [[nodiscard]] bool unseal(const std::string& name, std::string_view sealed, std::string& value) const;

  Loop& loop_;
  std::string file_;
  mls::Secret key_;
  sqlite3* database_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
  sqlite3_stmt* erase_ = nullptr;
  std::map<std::string, std::string> loaded_;
  StoreCounters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::mutex mutex_;
  std::condition_variable there_;
  Changes waiting_;
  bool ending_ = false;
  std::thread writer_;
};

}  // namespace slipway
