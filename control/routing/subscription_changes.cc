// What subscribe, unsubscribe and the end of a link do to the records, and so to the tables.
#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "routing/subscription_database.h"
#include "routing/subscription_index.h"

namespace slipway {

// --- from the outside ------------------------------------------------------------------------------

std::expected<Change, std::string> SubscriptionDatabase::subscribe(const Subscription& subscription) {
  return add_record(subscription, false, true);
}

std::expected<Change, std::string> SubscriptionDatabase::add_static(LinkIndex link, const Name& name, const NameText& text) {
  return add_record({.link = link, .name = name, .text = text, .subscription_id = 0}, true, true);
}

std::expected<Change, std::string> SubscriptionDatabase::unsubscribe(const Subscription& s) {
  if (s.link >= kMaxLinks || !links_[s.link].known || links_[s.link].leaving) {
    return std::unexpected(fmt::format("connection not found: {}", s.link));
  }
  const std::uint32_t prefix = find_prefix(s.name);
  if (prefix == 0) {
    return std::unexpected("subscription not found");
  }
  const std::uint32_t entry = find_entry(prefix, s.name);
  if (entry == 0) {
    return std::unexpected(fmt::format("id not found: {}", id_text(s.name.id)));
  }
  const std::uint32_t member = find_member(entry, s.link);
  if (member != 0 && has_record(member, s.subscription_id)) {
    return remove_record(member, s.subscription_id, false);
  }
  // A client that reconnected restored this name with id 0 and now takes it back under the id it first used.
  if (member != 0 && members_[member].has_record && !members_[member].has_more && members_[member].subscription_id == 0) {
    return remove_record(member, 0, false);
  }
  return std::unexpected(fmt::format("subscription id not found: {}", s.subscription_id));
}

std::uint64_t SubscriptionDatabase::withdrawn_id(const Subscription& s) const {
  const std::uint32_t prefix = s.link < kMaxLinks ? find_prefix(s.name) : 0;
  const std::uint32_t entry = prefix == 0 ? 0 : find_entry(prefix, s.name);
  const std::uint32_t member = entry == 0 ? 0 : find_member(entry, s.link);
  if (member == 0 || has_record(member, s.subscription_id) || !members_[member].has_record || members_[member].has_more) {
    return s.subscription_id;
  }
  return members_[member].subscription_id;
}

std::expected<Change, std::string> SubscriptionDatabase::remove_static(LinkIndex link, const Name& name) {
  const std::uint32_t prefix = find_prefix(name);
  const std::uint32_t entry = prefix == 0 ? 0 : find_entry(prefix, name);
  const std::uint32_t member = entry == 0 ? 0 : find_member(entry, link);
  if (member == 0 || !members_[member].is_static) {
    return std::unexpected(fmt::format("no static route of {} to link {}", text_of(name), link));
  }
  return remove_record(member, 0, true);
}

std::expected<std::optional<Transition>, std::string> SubscriptionDatabase::undo(const Change& change) {
  if (change.kind == Change::Kind::kNothing || !links_[change.link].known || links_[change.link].leaving) {
    return std::nullopt;  // the link's end has undone it already
  }
  if (change.kind == Change::Kind::kRemoved) {
    const Subscription again{.link = change.link,
                             .name = change.name,
                             .text = {change.text[0], change.text[1], change.text[2]},
                             .subscription_id = change.subscription_id};
    auto added = add_record(again, change.is_static, false);
    if (!added) {
      return std::unexpected(added.error());
    }
    return added->transition;
  }
  const std::uint32_t prefix = find_prefix(change.name);
  const std::uint32_t entry = prefix == 0 ? 0 : find_entry(prefix, change.name);
  const std::uint32_t member = entry == 0 ? 0 : find_member(entry, change.link);
  const bool there = member != 0 && (change.is_static ? members_[member].is_static : has_record(member, change.subscription_id));
  if (!there) {
    return std::nullopt;
  }
  return remove_record(member, change.subscription_id, change.is_static).transition;
}

// --- records of a member ---------------------------------------------------------------------------

bool SubscriptionDatabase::has_record(std::uint32_t member, std::uint64_t subscription_id) const {
  const Member& m = members_[member];
  if (m.has_record && m.subscription_id == subscription_id) {
    return true;
  }
  if (!m.has_more) {
    return false;
  }
  const auto& more = more_records_.at(member);
  return std::find(more.begin(), more.end(), subscription_id) != more.end();
}

void SubscriptionDatabase::take_record(std::uint32_t member, std::uint64_t subscription_id) {
  Member& m = members_[member];
  const bool first = m.has_record && m.subscription_id == subscription_id;
  if (!m.has_more) {
    assert(first);
    m.has_record = false;
    return;
  }
  auto more = more_records_.find(member);
  if (first) {
    m.subscription_id = more->second.back();
  } else {
    *std::find(more->second.begin(), more->second.end(), subscription_id) = more->second.back();
  }
  more->second.pop_back();
  if (more->second.empty()) {
    more_records_.erase(more);
    m.has_more = false;
  }
}

std::expected<Change, std::string> SubscriptionDatabase::add_record(const Subscription& s, bool is_static, bool enforce_limits) {
  if (s.link == kNoLink || s.link >= kMaxLinks || !links_[s.link].known || links_[s.link].leaving) {
    return std::unexpected(fmt::format("connection not found: {}", s.link));
  }
  const std::uint32_t prefix = find_prefix(s.name);
  const std::uint32_t entry = prefix == 0 ? 0 : find_entry(prefix, s.name);
  std::uint32_t member = entry == 0 ? 0 : find_member(entry, s.link);
  if (member != 0 && (is_static ? members_[member].is_static : has_record(member, s.subscription_id))) {
    return Change{};
  }
  Link& link = links_[s.link];
  if (enforce_limits && link.records >= limits_.max_link_subscriptions) {
    return std::unexpected(fmt::format("too many subscriptions: this link holds {}, its limit; unsubscribe names or raise "
                                       "`limits.link_subscriptions`",
                                       link.records));
  }
  if (records_ >= limits_.max_routes) {
    return std::unexpected(fmt::format("too many subscriptions: the node holds {}, its limit; raise `limits.routes`", records_));
  }
  if (member != 0) {
    return add_to_member(member, s, is_static);
  }
  auto added = add_member(s);
  if (!added) {
    return std::unexpected(added.error());
  }
  member = *added;
  auto change = add_to_member(member, s, is_static);
  if (links_of_class(members_[member].entry, link.link_class) == 1) {
    change->transition = Transition{.name = s.name, .link_class = link.link_class, .reachable = true, .still_matched = true,
                                    .subscription_id = s.subscription_id, .text = {}};
  }
  return change;
}

std::expected<Change, std::string> SubscriptionDatabase::add_to_member(std::uint32_t member, const Subscription& s,
                                                                       bool is_static) {
  Member& m = members_[member];
  if (is_static) {
    m.is_static = true;
  } else if (!m.has_record) {
    m.has_record = true;
    m.subscription_id = s.subscription_id;
  } else {
    more_records_[member].push_back(s.subscription_id);
    m.has_more = true;
  }
  ++records_;
  ++links_[s.link].records;
  if (Prefix& prefix = prefixes_[entries_[m.entry].prefix]; prefix.text == 0) {
    prefix.text = texts_.add(s.text);
  }
  Change change;
  change.kind = Change::Kind::kAdded;
  change.link = s.link;
  change.is_static = is_static;
  change.name = s.name;
  change.subscription_id = s.subscription_id;
  return change;
}

Change SubscriptionDatabase::remove_record(std::uint32_t member, std::uint64_t subscription_id, bool is_static) {
  Member& m = members_[member];
  Change change;
  change.kind = Change::Kind::kRemoved;
  change.link = m.link;
  change.is_static = is_static;
  change.name = name_of_entry(m.entry);
  change.subscription_id = subscription_id;
  const NameText text = texts_.get(prefixes_[entries_[m.entry].prefix].text);
  for (std::size_t i = 0; i < text.size(); ++i) {
    change.text[i] = text[i];
  }
  const bool last = static_cast<unsigned>(m.has_record) + static_cast<unsigned>(m.has_more) + static_cast<unsigned>(m.is_static) == 1;
  if (last) {
    change.transition = remove_member(member);
    if (change.transition) {
      change.transition->subscription_id = subscription_id;
    }
    return change;
  }
  if (is_static) {
    m.is_static = false;
  } else {
    take_record(member, subscription_id);
  }
  --records_;
  --links_[change.link].records;
  return change;
}

// --- members, entries, prefixes --------------------------------------------------------------------

std::expected<std::uint32_t, std::string> SubscriptionDatabase::add_member(const Subscription& s) {
  if (!groups_.reserve(2 * GroupWriter::kLinesPerChange)) {
    return std::unexpected(fault_text(InsertFault::kFull, s.name));
  }
  std::uint32_t prefix = find_prefix(s.name);
  const bool new_prefix = prefix == 0;
  if (new_prefix) {
    auto added = add_prefix(s.name, s.text, s.link);
    if (!added) {
      return added;
    }
    prefix = *added;
  }
  const std::uint32_t member = members_.take();
  members_[member].link = static_cast<std::uint16_t>(s.link);
  std::uint32_t entry = new_prefix ? 0 : find_entry(prefix, s.name);
  const bool new_entry = entry == 0;
  if (new_entry) {
    auto added = add_entry(prefix, s.name, member);
    if (!added) {
      members_.give_back(member);
      if (new_prefix) {
        names_.erase({s.name.component, kNullId});
        texts_.remove(prefixes_[prefix].text);
        prefixes_.give_back(prefix);
      }
      return added;
    }
    entry = *added;
  }
  members_[member].entry = entry;
  if (!new_entry) {
    link_member_to_entry(member, entry);
  }
  if (!new_prefix) {
    add_link_to_prefix(prefix, s.link);
  }
  prefixes_[prefix].entry_count += new_entry ? 1 : 0;
  Member& m = members_[member];
  m.link_next = links_[s.link].first_member;
  if (m.link_next != 0) {
    members_[m.link_next].link_previous = member;
  }
  links_[s.link].first_member = member;
  return member;
}

std::expected<std::uint32_t, std::string> SubscriptionDatabase::add_prefix(const Name& name, const NameText& text,
                                                                           LinkIndex link) {
  const std::uint32_t prefix = prefixes_.take();
  const RouteMatch match = RouteMatch::single(link, links_[link].link_class);
  prefixes_[prefix] = {.component = name.component, .text = 0, .match = match.value(), .first_entry = 0, .entry_count = 0};
  if (auto inserted = names_.insert({name.component, kNullId}, owner_of_prefix(prefix), match); !inserted) {
    prefixes_.give_back(prefix);
    return std::unexpected(fault_text(inserted.error(), name));
  }
  prefixes_[prefix].text = texts_.add(text);
  return prefix;
}

// An id with its first member. The null id has no place in the tables: there the prefix answers for it.
std::expected<std::uint32_t, std::string> SubscriptionDatabase::add_entry(std::uint32_t prefix, const Name& name,
                                                                          std::uint32_t member) {
  const std::uint32_t entry = entries_.take();
  entries_[entry] = {.id = name.id, .prefix = prefix, .set = member, .next = 0, .previous = 0};
  if (!name.id.is_null()) {
    if (auto inserted = names_.insert(name, owner_of_entry(entry), match_of_entry(entry)); !inserted) {
      entries_.give_back(entry);
      return std::unexpected(fault_text(inserted.error(), name));
    }
  }
  Prefix& p = prefixes_[prefix];
  const std::uint32_t first = p.first_entry;
  if (first != 0 && entries_[first].id.is_null()) {  // the null id stays first, where find_entry looks for it
    entries_[entry].previous = first;
    entries_[entry].next = entries_[first].next;
    entries_[first].next = entry;
  } else {
    entries_[entry].next = first;
    p.first_entry = entry;
  }
  if (entries_[entry].next != 0) {
    entries_[entries_[entry].next].previous = entry;
  }
  return entry;
}

void SubscriptionDatabase::link_member_to_entry(std::uint32_t member, std::uint32_t entry) {
  const MemberAccess access{members_};
  const LinkIndex link = members_[member].link;
  const LinkClass link_class = links_[link].link_class;
  const RouteMatch set(entries_[entry].set);
  if (set.is_group()) {
    member_index_.insert(access, member);
    groups_.add(set.line(), link, link_class, [&](LinkIndex moved, std::uint32_t position) {
      members_[find_member(entry, moved)].position = static_cast<std::uint16_t>(position);
    });
    return;
  }
  const std::uint32_t other = entries_[entry].set;
  const LinkIndex other_link = members_[other].link;
  member_index_.insert(access, other);
  member_index_.insert(access, member);
  const std::uint32_t group = groups_.create(other_link, links_[other_link].link_class, link, link_class,
                                             [&](LinkIndex moved, std::uint32_t position) {
                                               members_[moved == link ? member : other].position =
                                                   static_cast<std::uint16_t>(position);
                                             });
  entries_[entry].set = RouteMatch::group(group).value();
  if (!entries_[entry].id.is_null()) {
    names_.set_match(name_of_entry(entry), RouteMatch::group(group));
  }
}

void SubscriptionDatabase::set_prefix_match(std::uint32_t prefix, RouteMatch match) {
  prefixes_[prefix].match = match.value();
  names_.set_match({prefixes_[prefix].component, kNullId}, match);
}

// A member of an id that the prefix already counts (or that is about to be counted) joins the union of links.
void SubscriptionDatabase::add_link_to_prefix(std::uint32_t prefix, LinkIndex link) {
  const RouteMatch match(prefixes_[prefix].match);
  const PrefixMemberAccess access{prefix_members_};
  const auto add = [&](LinkIndex which, std::uint32_t ids) {
    const std::uint32_t number = prefix_members_.take();
    prefix_members_[number] = {.prefix = prefix, .next_in_index = 0, .ids = ids, .link = static_cast<std::uint16_t>(which),
                               .position = 0};
    prefix_member_index_.insert(access, number);
  };
  const auto moved = [&](LinkIndex which, std::uint32_t position) {
    prefix_members_[find_prefix_member(prefix, which)].position = static_cast<std::uint16_t>(position);
  };
  if (!match.is_group()) {
    if (match.link() == link) {
      return;  // entry_count says how many ids it holds
    }
    add(match.link(), prefixes_[prefix].entry_count);
    add(link, 1);
    set_prefix_match(prefix, RouteMatch::group(groups_.create(match.link(), match.link_class(), link, links_[link].link_class,
                                                              moved)));
    return;
  }
  if (const std::uint32_t number = find_prefix_member(prefix, link); number != 0) {
    ++prefix_members_[number].ids;
    return;
  }
  add(link, 1);
  groups_.add(match.line(), link, links_[link].link_class, moved);
}

// All records of a member go. The transition, if its class has no link on this id any more.
std::optional<Transition> SubscriptionDatabase::remove_member(std::uint32_t member) {
  const Member m = members_[member];
  const std::uint32_t prefix = entries_[m.entry].prefix;
  const LinkClass link_class = links_[m.link].link_class;
  Transition transition{.name = name_of_entry(m.entry), .link_class = link_class, .reachable = false, .still_matched = false,
                        .subscription_id = m.subscription_id, .text = {}};
  const bool last_of_class = links_of_class(m.entry, link_class) == 1;
  if (last_of_class) {  // the text may go with the record
    const NameText text = texts_.get(prefixes_[prefix].text);
    std::ranges::copy(text, transition.text.begin());
  }
  std::uint32_t gone = static_cast<std::uint32_t>(m.has_record) + static_cast<std::uint32_t>(m.is_static);
  if (m.has_more) {
    const auto more = more_records_.find(member);
    gone += static_cast<std::uint32_t>(more->second.size());
    more_records_.erase(more);
  }
  records_ -= gone;
  Link& link = links_[m.link];
  link.records -= gone;
  (m.link_previous != 0 ? members_[m.link_previous].link_next : link.first_member) = m.link_next;
  if (m.link_next != 0) {
    members_[m.link_next].link_previous = m.link_previous;
  }
  const bool last_of_entry = !RouteMatch(entries_[m.entry].set).is_group();
  if (last_of_entry) {
    remove_entry(m.entry);
  } else {
    remove_link_from_entry(member);
  }
  const bool prefix_left = remove_link_from_prefix(prefix, m.link);
  members_.give_back(member);
  if (!last_of_class) {
    return std::nullopt;
  }
  transition.still_matched = transition.name.id.is_null() ? prefix_left : !last_of_entry;
  return transition;
}

void SubscriptionDatabase::remove_entry(std::uint32_t entry) {
  const Entry e = entries_[entry];
  if (!e.id.is_null()) {
    names_.erase(name_of_entry(entry));
  }
  (e.previous != 0 ? entries_[e.previous].next : prefixes_[e.prefix].first_entry) = e.next;
  if (e.next != 0) {
    entries_[e.next].previous = e.previous;
  }
  --prefixes_[e.prefix].entry_count;
  entries_.give_back(entry);
}

void SubscriptionDatabase::remove_link_from_entry(std::uint32_t member) {
  const MemberAccess access{members_};
  const std::uint32_t entry = members_[member].entry;
  const std::uint32_t group = RouteMatch(entries_[entry].set).line();
  const std::uint32_t position = members_[member].position;
  if (groups_.total(group) > 2) {
    groups_.remove(group, position, [&](LinkIndex moved, std::uint32_t to) {
      members_[find_member(entry, moved)].position = static_cast<std::uint16_t>(to);
    });
    member_index_.erase(access, member);
    return;
  }
  const std::uint32_t other = find_member(entry, groups_.link_at(group, 1 - position));
  member_index_.erase(access, member);
  member_index_.erase(access, other);
  entries_[entry].set = other;
  if (!entries_[entry].id.is_null()) {
    names_.set_match(name_of_entry(entry), match_of_entry(entry));
  }
  groups_.destroy(group);
}

// False when that was the prefix's last link, and the prefix is gone.
bool SubscriptionDatabase::remove_link_from_prefix(std::uint32_t prefix, LinkIndex link) {
  const RouteMatch match(prefixes_[prefix].match);
  if (!match.is_group()) {
    assert(match.link() == link);
    if (prefixes_[prefix].entry_count != 0) {
      return true;
    }
    names_.erase({prefixes_[prefix].component, kNullId});
    texts_.remove(prefixes_[prefix].text);
    prefixes_.give_back(prefix);
    return false;
  }
  const std::uint32_t number = find_prefix_member(prefix, link);
  if (--prefix_members_[number].ids != 0) {
    return true;
  }
  const PrefixMemberAccess access{prefix_members_};
  const std::uint32_t position = prefix_members_[number].position;
  if (groups_.total(match.line()) > 2) {
    groups_.remove(match.line(), position, [&](LinkIndex moved, std::uint32_t to) {
      prefix_members_[find_prefix_member(prefix, moved)].position = static_cast<std::uint16_t>(to);
    });
  } else {
    const LinkIndex other = groups_.link_at(match.line(), 1 - position);
    const std::uint32_t other_number = find_prefix_member(prefix, other);
    assert(prefix_members_[other_number].ids == prefixes_[prefix].entry_count);
    set_prefix_match(prefix, RouteMatch::single(other, links_[other].link_class));
    groups_.destroy(match.line());
    prefix_member_index_.erase(access, other_number);
    prefix_members_.give_back(other_number);
  }
  prefix_member_index_.erase(access, number);
  prefix_members_.give_back(number);
  return true;
}

}  // namespace slipway
