// What people and other parts ask the database: lists, instances, and why a name goes where it goes.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "routing/subscription_database.h"
#include "routing/subscription_index.h"

namespace slipway {
namespace {

std::string_view class_word(LinkClass link_class) {
  switch (link_class) {
    case LinkClass::kLocal:
      return "local";
    case LinkClass::kRemote:
      return "remote";
    case LinkClass::kPeer:
      return "peer";
    case LinkClass::kEdge:
      return "edge";
  }
  return "unknown";
}

// The tier of a class: an anycast takes the lowest that has an eligible link. As RouteTable::choose_one.
std::uint32_t tier_of(LinkClass link_class, AnycastOrder order) {
  if (order == AnycastOrder::kUpstream) {
    return static_cast<std::uint32_t>(link_class);
  }
  const std::uint32_t rank = group_rank(link_class);
  return rank == 0 ? 0 : rank - 1;
}

std::string_view order_words(AnycastOrder order) {
  return order == AnycastOrder::kNearest ? "nearest first: local and edge, then peer, then remote"
                                         : "upstream's order: local, remote, peer, edge";
}

bool eligible(const ExplainedMatch& match) { return !match.is_ingress && match.class_allowed; }

}  // namespace

bool SubscriptionDatabase::matches(const Name& name) const { return names_.find(name) != 0; }

std::string SubscriptionDatabase::text_of(const Name& name) const {
  const std::uint32_t prefix = find_prefix(name);
  const NameText text = prefix == 0 ? NameText{} : texts_.get(prefixes_[prefix].text);
  if (text[0].empty() && text[1].empty() && text[2].empty()) {
    return hashed_text(name);
  }
  auto words = fmt::format("{}/{}/{}", text[0], text[1], text[2]);
  return name.id.is_null() ? words : words + "/" + id_text(name.id);
}

NameRow SubscriptionDatabase::row_of(std::uint32_t entry) const {
  NameRow row;
  row.name = name_of_entry(entry);
  row.text = text_of(row.name);
  const RouteMatch match = match_of_entry(entry);
  for (std::size_t c = 0; c < kLinkClasses; ++c) {
    row.links[c] = links_of_class(entry, static_cast<LinkClass>(c));
  }
  row.only_link = match.is_group() ? kNoLink : match.link();
  return row;
}

NamePage SubscriptionDatabase::list(std::uint32_t from, std::uint32_t max_rows) const {
  NamePage page;
  for (std::uint32_t entry = std::max(from, 1u); entry < entries_.high_water(); ++entry) {
    if (entries_[entry].prefix == 0) {
      continue;
    }
    if (page.rows.size() == max_rows) {
      page.next = entry;
      break;
    }
    page.rows.push_back(row_of(entry));
  }
  return page;
}

NamePage SubscriptionDatabase::instances(const Name& name, std::uint32_t from, std::uint32_t max_rows) const {
  NamePage page;
  const std::uint32_t prefix = find_prefix(name);
  if (prefix == 0) {
    return page;
  }
  const bool stale = from != 0 && (from >= entries_.high_water() || entries_[from].prefix != prefix);
  std::uint32_t entry = stale ? 0 : (from != 0 ? from : prefixes_[prefix].first_entry);
  for (; entry != 0 && page.rows.size() < max_rows; entry = entries_[entry].next) {
    page.rows.push_back(row_of(entry));
  }
  page.next = entry;
  return page;
}

NamePage SubscriptionDatabase::names_of_link(LinkIndex link, std::uint32_t from, std::uint32_t max_rows) const {
  NamePage page;
  if (link == kNoLink || link >= kMaxLinks) {
    return page;
  }
  const bool stale = from != 0 && (from >= members_.high_water() || members_[from].entry == 0 || members_[from].link != link);
  std::uint32_t member = stale ? 0 : (from != 0 ? from : links_[link].first_member);
  for (; member != 0 && page.rows.size() < max_rows; member = members_[member].link_next) {
    page.rows.push_back(row_of(members_[member].entry));
  }
  page.next = member;
  return page;
}

std::vector<LinkIndex> SubscriptionDatabase::links_of_name(const Name& name, std::uint32_t at_most) const {
  std::vector<LinkIndex> links;
  const std::uint32_t prefix = find_prefix(name);
  const std::uint32_t entry = prefix == 0 ? 0 : find_entry(prefix, name);
  if (entry == 0) {
    return links;
  }
  const RouteMatch match = match_of_entry(entry);
  if (!match.is_group()) {
    links.push_back(match.link());
    return links;
  }
  const std::uint32_t total = std::min(groups_.total(match.line()), at_most);
  for (std::uint32_t i = 0; i < total; ++i) {
    links.push_back(groups_.link_at(match.line(), i));
  }
  return links;
}

std::array<std::string, 3> SubscriptionDatabase::text_parts(const Name& name) const {
  const std::uint32_t prefix = find_prefix(name);
  const NameText text = prefix == 0 ? NameText{} : texts_.get(prefixes_[prefix].text);
  return {std::string(text[0]), std::string(text[1]), std::string(text[2])};
}

std::vector<ExplainedMatch> SubscriptionDatabase::matches_of(RouteMatch match, std::uint32_t prefix, bool exact,
                                                             std::uint32_t* total) const {
  std::vector<ExplainedMatch> matches;
  if (!match.found()) {
    *total = 0;
    return matches;
  }
  if (!match.is_group()) {
    *total = 1;
    matches.push_back({.link = match.link(), .link_class = match.link_class(), .ids = exact ? 1 : prefixes_[prefix].entry_count});
    return matches;
  }
  *total = groups_.total(match.line());
  for (std::uint32_t i = 0; i < std::min(*total, Explanation::kMaxMatches); ++i) {
    const LinkIndex link = groups_.link_at(match.line(), i);
    const std::uint32_t ids = exact ? 1 : prefix_members_[find_prefix_member(prefix, link)].ids;
    matches.push_back({.link = link, .link_class = groups_.class_at(match.line(), i), .ids = ids});
  }
  return matches;
}

namespace {

// Marks the links of the best tier; says in words who gets a message for one.
std::string choose_in_words(std::vector<ExplainedMatch>& matches, const ExplainQuery& query) {
  std::uint32_t best = kLinkClasses;
  for (const auto& match : matches) {
    if (eligible(match)) {
      best = std::min(best, tier_of(match.link_class, query.order));
    }
  }
  std::uint32_t candidates = 0;
  LinkIndex only = kNoLink;
  LinkClass only_class = LinkClass::kEdge;
  for (auto& match : matches) {
    match.candidate = eligible(match) && tier_of(match.link_class, query.order) == best;
    if (match.candidate) {
      ++candidates;
      only = match.link;
      only_class = match.link_class;
    }
  }
  if (candidates == 0) {
    return "nobody";
  }
  if (candidates == 1) {
    return fmt::format("link {} ({}), the only one of its rank ({})", only, class_word(only_class), order_words(query.order));
  }
  return fmt::format("one of {} links, {} ({})", candidates,
                     query.policy == AnycastPolicy::kLeastLoaded ? "the least loaded" : "each in its turn", order_words(query.order));
}

std::string drop_rule(const std::vector<ExplainedMatch>& matches, const ExplainQuery& query, bool prefix_known,
                      std::uint32_t ids, std::string_view name) {
  if (query.hop_limit <= 1) {
    return fmt::format("hop_limit: it arrives with {}, and a node forwards only what has more than 1", query.hop_limit);
  }
  if (!prefix_known) {
    return fmt::format("no_route: nobody has subscribed to {}", name);
  }
  if (matches.empty()) {
    return fmt::format("no_route: {} ids of this service are known, but not this one; an id matches itself only", ids);
  }
  if (std::any_of(matches.begin(), matches.end(), eligible)) {
    return {};
  }
  const bool class_hidden = std::any_of(matches.begin(), matches.end(), [](const auto& m) { return !m.class_allowed; });
  return class_hidden ? "no_route: only peers subscribed, and what comes from a peer does not go on to peers"
                      : "only_ingress: the only subscriber is the link that it comes from";
}

}  // namespace

Explanation SubscriptionDatabase::explain(const ExplainQuery& query) const {
  Explanation result;
  result.name = query.text.empty() ? text_of(query.name) : query.text;
  const std::uint32_t prefix = find_prefix(query.name);
  const std::uint32_t ids = prefix == 0 ? 0 : prefixes_[prefix].entry_count;
  const bool exact = !query.name.id.is_null();
  const NameOwner owner = names_.find(query.name);
  result.matches = matches_of(owner == 0 ? RouteMatch{} : match_of(owner), prefix, exact, &result.total);
  for (auto& match : result.matches) {
    match.is_ingress = match.link == query.from && query.from != kNoLink;
    match.class_allowed = (query.classes & class_bit(match.link_class)) != 0;
  }
  result.anycast = choose_in_words(result.matches, query);
  const auto receivers = std::count_if(result.matches.begin(), result.matches.end(), eligible);
  result.multicast = receivers == 0 ? "nobody"
                     : result.total > result.matches.size()
                         ? fmt::format("all {} links but the one it comes from", result.total)
                         : fmt::format("{} link{}, each once", receivers, receivers == 1 ? "" : "s");
  result.drop = drop_rule(result.matches, query, prefix != 0, ids, result.name);
  if (query.hop_limit <= 1) {
    result.anycast = result.multicast = "nobody";
  }
  return result;
}

}  // namespace slipway
