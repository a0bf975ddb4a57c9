#pragma once
// Which applications of one link subscribed to a name. The node never sends a frame back where it came from, so
// applications that share a link find each other here; and what the node sends is spread over them here.
//
// Matching is the node's: an exact id matches that id only; a null id matches every subscription of its three
// components. One receiver is chosen round robin. Not thread-safe: the loop's thread.

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "frame/name.h"

namespace slipway {

class ClientApplication;

class LocalRoutes {
 public:
  // Counted: what was added twice is removed by the second remove.
  void add(const Name& name, ClientApplication* application);
  void remove(const Name& name, ClientApplication* application);

  // One subscriber that is not `except`, or null.
  ClientApplication* choose(const Name& name, const ClientApplication* except);
  [[nodiscard]] bool has_other(const Name& name, const ClientApplication* except);
  // Appends every subscriber but `except`, each once.
  void all(const Name& name, const ClientApplication* except, std::vector<ClientApplication*>* found);
  [[nodiscard]] std::size_t names() const { return routes_.size(); }

 private:
  struct Member {
    ClientApplication* application;
    std::uint32_t count;
  };
  struct Members {
    std::vector<Member> list;
    std::uint32_t cursor = 0;
  };
  struct Hash {
    std::size_t operator()(const Name& name) const {
      // Components are hashes already; names are added by our own applications only.
      return static_cast<std::size_t>((name.component[2] ^ name.component[1] * 3 ^ name.component[0] * 5) + name.id.low * 7 + name.id.high * 11);
    }
  };
  void add_one(const Name& key, ClientApplication* application);
  void remove_one(const Name& key, ClientApplication* application);
  Members* find(const Name& name);

  // A null id's members are those of all ids of the same components.
  std::unordered_map<Name, Members, Hash> routes_;
  Name last_;                       // most frames go where the one before went
  Members* last_found_ = nullptr;
};

}  // namespace slipway
