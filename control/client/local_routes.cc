#include "client/local_routes.h"

#include <algorithm>

namespace slipway {

void LocalRoutes::add(const Name& name, ClientApplication* application) {
  add_one(name, application);
  if (!name.id.is_null()) {
    add_one({name.component, kNullId}, application);
  }
}

void LocalRoutes::remove(const Name& name, ClientApplication* application) {
  remove_one(name, application);
  if (!name.id.is_null()) {
    remove_one({name.component, kNullId}, application);
  }
}

void LocalRoutes::add_one(const Name& key, ClientApplication* application) {
  last_found_ = nullptr;
  auto& list = routes_[key].list;
  const auto found = std::find_if(list.begin(), list.end(), [&](const Member& m) { return m.application == application; });
  if (found != list.end()) {
    ++found->count;
  } else {
    list.push_back({application, 1});
  }
}

void LocalRoutes::remove_one(const Name& key, ClientApplication* application) {
  last_found_ = nullptr;
  const auto route = routes_.find(key);
  if (route == routes_.end()) {
    return;
  }
  auto& list = route->second.list;
  const auto found = std::find_if(list.begin(), list.end(), [&](const Member& m) { return m.application == application; });
  if (found == list.end() || --found->count > 0) {
    return;
  }
  *found = list.back();
  list.pop_back();
  if (list.empty()) {
    routes_.erase(route);
  }
}

LocalRoutes::Members* LocalRoutes::find(const Name& name) {
  if (last_found_ != nullptr && last_ == name) {
    return last_found_;
  }
  const auto route = routes_.find(name);
  if (route == routes_.end()) {
    return nullptr;
  }
  last_ = name;
  last_found_ = &route->second;
  return last_found_;
}

ClientApplication* LocalRoutes::choose(const Name& name, const ClientApplication* except) {
  Members* members = find(name);
  if (members == nullptr) {
    return nullptr;
  }
  const auto count = static_cast<std::uint32_t>(members->list.size());
  for (std::uint32_t tried = 0; tried < count; ++tried) {
    const std::uint32_t at = members->cursor < count ? members->cursor : 0;
    members->cursor = at + 1;
    if (members->list[at].application != except) {
      return members->list[at].application;
    }
  }
  return nullptr;
}

bool LocalRoutes::has_other(const Name& name, const ClientApplication* except) {
  const Members* members = find(name);
  return members != nullptr && (members->list.size() > 1 || members->list[0].application != except);
}

void LocalRoutes::all(const Name& name, const ClientApplication* except, std::vector<ClientApplication*>* found) {
  if (const Members* members = find(name)) {
    for (const Member& member : members->list) {
      if (member.application != except) {
        found->push_back(member.application);
      }
    }
  }
}

}  // namespace slipway
