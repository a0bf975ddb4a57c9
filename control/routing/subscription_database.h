#pragma once
// Who subscribed to what: the control thread's truth, from which every worker's route table follows.
//
// A record is (link, name, id, subscription id); a link stays on a name while it holds one record of it (reference
// counting as upstream-node 5.3). Each change is told as RouteUpdates to `post`, which the caller puts on every
// worker's ring in this order; the changes of one call are complete when the call returns. Tables that attach()
// filled are kept large enough for what is posted.
//
// Cost: a change touches one name and its prefix, whatever is held: a few microseconds, also for the 4,096th member
// of a group. Nothing is copied or rehashed as a whole at any size. Control thread only.

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/link.h"
#include "bounds.h"
#include "frame/name.h"
#include "route/route_table.h"
#include "routing/chain_index.h"
#include "routing/group_writer.h"
#include "routing/name_text.h"
#include "routing/name_writer.h"
#include "routing/slab.h"

namespace slipway {

struct RoutingLimits {
  std::uint32_t max_routes = kDefaultMaxRoutes;                    // records in all, 64 to kMaxMaxRoutes
  std::uint32_t max_link_subscriptions = kDefaultLinkSubscriptions;  // records of one link
};

// A (name, class) got its first link or lost its last: what propagation to peers and controllers follows
// (upstream-node 5.3, 5.6).
struct Transition {
  Name name;
  LinkClass link_class = LinkClass::kEdge;
  bool reachable = false;
  bool still_matched = false;  // a publish to the name still finds somebody, of whatever class
  std::uint64_t subscription_id = 0;
  std::array<std::string, 3> text;  // of the name, as far as it was known; where it is no longer reachable
};

// What a call changed, and all that undo() needs to take it back.
struct Change {
  enum class Kind : std::uint8_t { kNothing, kAdded, kRemoved };
  Kind kind = Kind::kNothing;
  LinkIndex link = kNoLink;
  bool is_static = false;
  Name name;
  std::uint64_t subscription_id = 0;   // of the record; 0 where a restored record stood for another id
  std::array<std::string, 3> text;     // kRemoved only
  std::optional<Transition> transition;
};

struct Subscription {
  LinkIndex link = kNoLink;
  Name name;
  NameText text;                       // empty parts: not known; the first that is known is kept
  std::uint64_t subscription_id = 0;
};

// One name as lists show it.
struct NameRow {
  Name name;
  std::string text;                                  // as people see it, id included
  std::array<std::uint32_t, kLinkClasses> links{};   // by LinkClass
  LinkIndex only_link = kNoLink;                     // when it has one
};
struct NamePage {
  std::vector<NameRow> rows;
  std::uint32_t next = 0;  // pass it to get the next page; 0: this was the last
};

struct ExplainedMatch {
  LinkIndex link = kNoLink;
  LinkClass link_class = LinkClass::kEdge;
  std::uint32_t ids = 0;        // how many ids of the prefix this link holds; 1 for an exact id
  bool is_ingress = false;      // never chosen: nothing goes back where it came from
  bool class_allowed = true;    // false: from a peer to a peer in a full mesh
  bool candidate = false;       // an anycast may choose it
};
struct ExplainQuery {
  Name name;
  std::string text;             // the name as it was asked for; empty: what is known of it
  LinkIndex from = kNoLink;     // kNoLink: from nowhere in particular
  AnycastOrder order = AnycastOrder::kNearest;
  AnycastPolicy policy = AnycastPolicy::kRoundRobin;
  ClassMask classes = kAllClasses;
  std::uint8_t hop_limit = kDefaultHopLimit;  // as it arrives
};
struct Explanation {
  std::string name;
  std::uint32_t total = 0;                // matching links
  std::vector<ExplainedMatch> matches;    // the first kMaxMatches of them
  std::string anycast;                    // who would get a message for one, and why
  std::string multicast;                  // who would get a message for all
  std::string drop;                       // the rule that would drop it; empty: none
  static constexpr std::uint32_t kMaxMatches = 1024;
};

struct RoutingMemory {
  std::uint32_t routes = 0;         // records
  std::uint32_t route_limit = 0;    // as many as there can be
  std::uint32_t names = 0;          // entries of a table: ids and prefixes
  TableExtent table;                // lines of one worker's copy that are in use
  std::size_t table_bytes = 0;      // of one worker's copy
  std::size_t database_bytes = 0;   // records, indexes, text, and the mirror of where things lie
  std::size_t text_bytes = 0;       // of these, text
  double table_bytes_per_route = 0;
  double bytes_per_route = 0;       // one worker's copy and the database
};

class SubscriptionDatabase final : private NameSource {
 public:
  using Post = std::function<void(const RouteUpdate&)>;
  using OnTransition = std::function<void(const Transition&)>;

  // Reserves address space. The error says what to lower.
  static std::expected<std::unique_ptr<SubscriptionDatabase>, std::string> create(const RouteSecret& secret,
                                                                                  const RoutingLimits& limits);
  // Where updates go. Without it, updates are dropped: for tools that only ask questions.
  void set_post(Post post);

  // A table for this database: as large as its limits. Call attach() before its worker starts, detach() before it dies.
  [[nodiscard]] std::expected<RouteTable, std::string> make_table() const;
  // Fills an empty table with all there is, in one go (about 0.3 us a route), and keeps it backed from now on. The node
  // does it at its start, when nothing is held yet.
  std::expected<void, std::string> attach(RouteTable& table);
  void detach(RouteTable& table);
  // `table` has moved in memory.
  void reattach(const RouteTable* old_place, RouteTable& table);

  // --- links ---------------------------------------------------------------------------------------
  void add_link(LinkIndex link, LinkClass link_class);
  // Takes away the records of a link, at most `budget` names a call; true when none is left and the link is unknown.
  // From the first call on the link can subscribe to nothing. Tells each transition.
  bool remove_link(LinkIndex link, std::uint32_t budget, const OnTransition& on_transition);
  [[nodiscard]] std::uint32_t link_subscriptions(LinkIndex link) const;

  // --- changes -------------------------------------------------------------------------------------
  // Errors are the texts of upstream-node 5.3, fit for an acknowledgement; nothing has changed then.
  std::expected<Change, std::string> subscribe(const Subscription& subscription);
  std::expected<Change, std::string> unsubscribe(const Subscription& subscription);
  // Under which id a node that is done with a name had announced it: upstream's withdraws it under that of the last
  // application that left. The id that came, unless the link holds one record of the name, under another.
  [[nodiscard]] std::uint64_t withdrawn_id(const Subscription& subscription) const;
  // A route that configuration or an operator set: a record of its own, not taken away by an unsubscribe, gone with
  // the link. (Whoever configures sets it again when the link is back.)
  std::expected<Change, std::string> add_static(LinkIndex link, const Name& name, const NameText& text);
  std::expected<Change, std::string> remove_static(LinkIndex link, const Name& name);
  // Takes a change back, as when not every worker applied it in time. Its transition, if it was one, is reversed.
  std::expected<std::optional<Transition>, std::string> undo(const Change& change);

  // --- questions -----------------------------------------------------------------------------------
  [[nodiscard]] std::uint32_t routes() const { return records_; }
  [[nodiscard]] bool matches(const Name& name) const;  // somebody would get a publish to it
  [[nodiscard]] std::string text_of(const Name& name) const;  // hashes in hex where no text is known
  // Every name with an id (or the null id) that has a record, from `from` on; 0 starts. Stable while names come
  // and go: a name that stays is shown once.
  [[nodiscard]] NamePage list(std::uint32_t from, std::uint32_t max_rows) const;
  // The ids under a prefix (name.id does not matter). A page ends the list when its `next` is 0; when the id that
  // `next` stands for goes away meanwhile, the list ends there.
  [[nodiscard]] NamePage instances(const Name& name, std::uint32_t from, std::uint32_t max_rows) const;
  // The names one link is on, newest first.
  [[nodiscard]] NamePage names_of_link(LinkIndex link, std::uint32_t from, std::uint32_t max_rows) const;
  // The links on exactly this name and id, at most so many.
  [[nodiscard]] std::vector<LinkIndex> links_of_name(const Name& name, std::uint32_t at_most) const;
  // The three parts; empty where no text is known.
  [[nodiscard]] std::array<std::string, 3> text_parts(const Name& name) const;
  [[nodiscard]] Explanation explain(const ExplainQuery& query) const;
  [[nodiscard]] RoutingMemory memory() const;

 private:
  // A prefix: three components, and the union of the links of its ids. `match` is what the worker finds for the
  // null id. While one link is the only one, it holds every id: its count of ids is entry_count.
  struct Prefix {
    std::array<std::uint64_t, 3> component;
    std::uint32_t text;
    std::uint32_t match;
    std::uint32_t first_entry;  // the entry of the null id, if any, stands first
    std::uint32_t entry_count;
  };
  // An id of a prefix. `set` is the group of its links, or with one link the number of its only member.
  struct Entry {
    NameId id;
    std::uint32_t prefix;
    std::uint32_t set;
    std::uint32_t next;
    std::uint32_t previous;
  };
  // A link on an id. Its first record lies here, further ones in more_records_.
  struct Member {
    std::uint32_t entry;
    std::uint32_t next_in_index;  // only while the entry has several links
    std::uint64_t subscription_id;
    std::uint32_t link_next;
    std::uint32_t link_previous;
    std::uint16_t link;
    std::uint16_t position;       // in the entry's group
    bool has_record;
    bool has_more;
    bool is_static;
  };
  // A link on a prefix that has several: how many ids it holds.
  struct PrefixMember {
    std::uint32_t prefix;
    std::uint32_t next_in_index;
    std::uint32_t ids;
    std::uint16_t link;
    std::uint16_t position;
  };
  static_assert(sizeof(Prefix) == 40 && sizeof(Entry) == 32 && sizeof(Member) == 32 && sizeof(PrefixMember) == 16);
  struct Link {
    bool known = false;
    bool leaving = false;
    LinkClass link_class = LinkClass::kEdge;
    std::uint32_t first_member = 0;
    std::uint32_t records = 0;
  };
  struct MemberAccess;
  struct PrefixMemberAccess;

  SubscriptionDatabase(const RouteSecret& secret, const RoutingLimits& limits, const TableExtent& table_limits);
  [[nodiscard]] bool valid() const;
  [[nodiscard]] Name name_of(NameOwner owner) const override;
  [[nodiscard]] RouteMatch match_of(NameOwner owner) const override;
  static NameOwner owner_of_prefix(std::uint32_t prefix) { return prefix << 1 | 1; }
  static NameOwner owner_of_entry(std::uint32_t entry) { return entry << 1; }

  [[nodiscard]] std::uint32_t find_prefix(const Name& name) const;
  [[nodiscard]] std::uint32_t find_entry(std::uint32_t prefix, const Name& name) const;
  [[nodiscard]] std::uint32_t find_member(std::uint32_t entry, LinkIndex link) const;
  [[nodiscard]] std::uint32_t find_prefix_member(std::uint32_t prefix, LinkIndex link) const;
  [[nodiscard]] Name name_of_entry(std::uint32_t entry) const;
  [[nodiscard]] RouteMatch match_of_entry(std::uint32_t entry) const;
  [[nodiscard]] std::uint32_t links_of_class(std::uint32_t entry, LinkClass link_class) const;

  std::expected<Change, std::string> add_record(const Subscription& subscription, bool is_static, bool enforce_limits);
  std::expected<Change, std::string> add_to_member(std::uint32_t member, const Subscription& subscription, bool is_static);
  std::expected<std::uint32_t, std::string> add_member(const Subscription& subscription);
  std::expected<std::uint32_t, std::string> add_entry(std::uint32_t prefix, const Name& name, std::uint32_t member);
  std::expected<std::uint32_t, std::string> add_prefix(const Name& name, const NameText& text, LinkIndex link);
  void link_member_to_entry(std::uint32_t member, std::uint32_t entry);
  void add_link_to_prefix(std::uint32_t prefix, LinkIndex link);
  Change remove_record(std::uint32_t member, std::uint64_t subscription_id, bool is_static);
  bool has_record(std::uint32_t member, std::uint64_t subscription_id) const;
  void take_record(std::uint32_t member, std::uint64_t subscription_id);
  std::optional<Transition> remove_member(std::uint32_t member);
  void remove_link_from_entry(std::uint32_t member);
  bool remove_link_from_prefix(std::uint32_t prefix, LinkIndex link);
  void remove_entry(std::uint32_t entry);
  void set_prefix_match(std::uint32_t prefix, RouteMatch match);
  [[nodiscard]] std::string fault_text(InsertFault fault, const Name& name) const;
  bool extend(const TableExtent& wanted);

  [[nodiscard]] NameRow row_of(std::uint32_t entry) const;
  [[nodiscard]] std::vector<ExplainedMatch> matches_of(RouteMatch match, std::uint32_t prefix, bool exact,
                                                       std::uint32_t* total) const;

  RoutingLimits limits_;
  RouteSecret secret_;
  Post post_;
  TableExtent extent_;               // what every attached table is backed to
  std::vector<RouteTable*> tables_;
  NameWriter names_;
  GroupWriter groups_;
  Slab<Prefix> prefixes_;
  Slab<Entry> entries_;
  Slab<Member> members_;
  Slab<PrefixMember> prefix_members_;
  ChainIndex member_index_;
  ChainIndex prefix_member_index_;
  NameTexts texts_;
  std::unordered_map<std::uint32_t, std::vector<std::uint64_t>> more_records_;  // by member: rare
  std::vector<Link> links_;
  std::uint32_t records_ = 0;
};

}  // namespace slipway
