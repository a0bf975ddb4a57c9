#pragma once
// Small values under names that survive a restart and that nobody reads who has only the disk: each is sealed on its own
// (AES-256-GCM, bound to its name), with a key that lives in a file elsewhere.
//
// Control thread. Reads come from memory that was filled at the start; writes go to disk on another thread, in order. `done`
// runs in a later turn, when what was written would survive the process.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace slipway {

class SealedStore {
 public:
  using Done = std::move_only_function<void(std::expected<void, std::string>)>;

  virtual ~SealedStore() = default;
  // Names are ASCII, at most 512 bytes; users keep apart by prefixes ("channel/", "owner/", "nonce/"). `done` may be empty.
  virtual void put(std::string_view name, std::string_view value, Done done) = 0;
  virtual void erase(std::string_view name, Done done) = 0;
  // What belongs together: a store on a disk writes all of it or nothing.
  virtual void put_all(std::vector<std::pair<std::string, std::string>> values, Done done) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      put(values[i].first, values[i].second, i + 1 == values.size() ? std::move(done) : Done());
    }
  }
  // What was there when the store was opened, by prefix, in the order of names. Values that users need later they keep.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::string>> take_loaded(std::string_view prefix) = 0;
};

}  // namespace slipway
