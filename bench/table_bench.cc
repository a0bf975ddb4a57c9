// Our route lookup in bursts against DPDK's rte_hash bulk lookup with the full 40-byte name as key, on the same
// names in the same order, hits and misses apart. Then what the control thread's side costs: subscriptions a second
// through the database and two workers' copies, and bytes a route.

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_memory.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "frame/frame.h"
#include "harness.h"
#include "route/route_table.h"
#include "routing/subscription_database.h"

namespace slipway::bench {
namespace {

constexpr std::size_t kNameBytes = 40;
constexpr std::uint32_t kIdsPerService = 1000;
constexpr LinkIndex kLinks = 64;
constexpr std::uint32_t kBatchesPerClockLook = 64;

using NameBytes = std::array<std::byte, kNameBytes>;

Name nth_name(std::uint64_t i) {
  const std::uint64_t service = i / kIdsPerService;
  return {{0x1111, 0x2222, (service + 1) * 0x9E3779B97F4A7C15u}, {.high = i * 0xD6E8FEB86659FD93u, .low = i}};
}

[[noreturn]] void fail(const std::string& text) {
  fmt::print(stderr, "table: {}\n", text);
  std::exit(1);
}

// Names as they lie in frames, each once, in random order.
std::vector<NameBytes> shuffled(std::uint64_t first, std::uint64_t count, std::uint64_t seed) {
  std::vector<NameBytes> names(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    store_name(names[i].data(), nth_name(first + i));
  }
  std::shuffle(names.begin(), names.end(), std::mt19937_64(seed));
  return names;
}

// Hands out bursts of pointers to names, round and round.
class Bursts {
 public:
  explicit Bursts(const std::vector<NameBytes>& names) : names_(names) {}
  void next(std::array<const std::byte*, kMaxBurst>& pointers) {
    at_ = at_ + kMaxBurst <= names_.size() ? at_ : 0;
    for (auto& pointer : pointers) {
      pointer = names_[at_++].data();
    }
  }

 private:
  const std::vector<NameBytes>& names_;
  std::size_t at_ = 0;
};

void subscribe_all(SubscriptionDatabase& database, std::uint64_t count) {
  for (LinkIndex link = 1; link <= kLinks; ++link) {
    database.add_link(link, LinkClass::kEdge);
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto link = static_cast<LinkIndex>(1 + i % kLinks);
    if (auto added = database.subscribe({.link = link, .name = nth_name(i), .subscription_id = i + 1}); !added) {
      fail(added.error());
    }
  }
}

struct Ours {
  explicit Ours(std::uint64_t names) {
    auto made = SubscriptionDatabase::create(RouteSecret::random(), {.max_routes = static_cast<std::uint32_t>(names + names / 8),
                                                                     .max_link_subscriptions = kMaxMaxRoutes});
    if (!made) {
      fail(made.error());
    }
    database = std::move(*made);
    auto made_table = database->make_table();
    if (!made_table) {
      fail(made_table.error());
    }
    table = std::move(*made_table);
    if (auto attached = database->attach(table); !attached) {
      fail(attached.error());
    }
    database->set_post([this](const RouteUpdate& update) { table.apply(update); });
    subscribe_all(*database, names);
  }
  Arm arm(const std::vector<NameBytes>& names, bool hit) {
    return [this, bursts = Bursts(names), hit](std::uint64_t ns) mutable {
      std::array<const std::byte*, kMaxBurst> pointers;
      std::array<RouteMatch, kMaxBurst> matches;
      std::uint64_t found = 0;
      const std::uint64_t looked = run_for(ns, [&] {
        for (std::uint32_t i = 0; i < kBatchesPerClockLook; ++i) {
          bursts.next(pointers);
          table.lookup(pointers, matches.data());
          for (const RouteMatch match : matches) {
            found += match.found() ? 1 : 0;
          }
        }
        return std::uint64_t{kBatchesPerClockLook} * kMaxBurst;
      });
      if (found != (hit ? looked : 0)) {
        fail(fmt::format("the route table found {} of {} names", found, looked));
      }
      return looked;
    };
  }

  std::unique_ptr<SubscriptionDatabase> database;
  RouteTable table;
};

struct Reference {
  explicit Reference(std::uint64_t names) {
    rte_hash_parameters parameters{};
    parameters.name = "names";
    parameters.entries = static_cast<std::uint32_t>(names + names / 8);  // room: rte_hash refuses before it is full
    parameters.key_len = kNameBytes;
    parameters.hash_func = rte_hash_crc;
    parameters.socket_id = SOCKET_ID_ANY;
    hash = rte_hash_create(&parameters);
    if (hash == nullptr) {
      fail(fmt::format("rte_hash_create for {} names: {}", names, rte_strerror(rte_errno)));
    }
    for (std::uint64_t i = 0; i < names; ++i) {
      NameBytes bytes;
      store_name(bytes.data(), nth_name(i));
      if (rte_hash_add_key_data(hash, bytes.data(), reinterpret_cast<void*>(1 + i % kLinks)) != 0) {
        fail(fmt::format("rte_hash took {} of {} names", i, names));
      }
    }
  }
  ~Reference() { rte_hash_free(hash); }
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;

  Arm arm(const std::vector<NameBytes>& names, bool hit) {
    return [this, bursts = Bursts(names), hit](std::uint64_t ns) mutable {
      std::array<const std::byte*, kMaxBurst> pointers;
      std::array<const void*, kMaxBurst> keys;
      std::array<void*, kMaxBurst> data;
      std::uint64_t found = 0;
      const std::uint64_t looked = run_for(ns, [&] {
        for (std::uint32_t i = 0; i < kBatchesPerClockLook; ++i) {
          bursts.next(pointers);
          std::copy(pointers.begin(), pointers.end(), keys.begin());
          std::uint64_t mask = 0;
          rte_hash_lookup_bulk_data(hash, keys.data(), kMaxBurst, &mask, data.data());
          found += static_cast<std::uint64_t>(__builtin_popcountll(mask));
        }
        return std::uint64_t{kBatchesPerClockLook} * kMaxBurst;
      });
      if (found != (hit ? looked : 0)) {
        fail(fmt::format("rte_hash found {} of {} names", found, looked));
      }
      return looked;
    };
  }

  rte_hash* hash = nullptr;
};

// Both tables get the same kind of pages: DPDK's memory the advice that ours has.
void start_dpdk(std::uint32_t megabytes) {
  const std::string memory = std::to_string(megabytes);
  std::vector<std::string> words = {"table", "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry", "-m", memory,
                                    "--lcores", "0@(0-1)", "--log-level", "error"};
  std::vector<char*> pointers;
  for (auto& word : words) {
    pointers.push_back(word.data());
  }
  if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) {
    fail(fmt::format("starting DPDK: {}", rte_strerror(rte_errno)));
  }
  rte_memseg_walk(
      [](const rte_memseg_list* list, const rte_memseg*, void*) {
        madvise(list->base_va, list->len, MADV_HUGEPAGE);
        return 1;  // one list holds it all
      },
      nullptr);
}

std::string size_text(std::uint64_t names) { return names >= 1'000'000 ? fmt::format("{}M", names / 1'000'000) : fmt::format("{}k", names >> 10); }

void compare_size(std::uint64_t names, const Options& options, Report& report) {
  Ours ours(names);
  Reference reference(names);
  const auto hits = shuffled(0, names, 1);
  const auto misses = shuffled(names, names, 2);
  report.comparisons.push_back(compare(size_text(names) + " hits", ours.arm(hits, true), reference.arm(hits, true), options));
  report.comparisons.push_back(
      compare(size_text(names) + " misses", ours.arm(misses, false), reference.arm(misses, false), options));
  report.figures.emplace_back(size_text(names) + " bytes a route, one copy", ours.database->memory().table_bytes_per_route);
}

// The whole way of a subscription: database, then two workers' copies, at rest and with `held` routes there.
void measure_changes(std::uint64_t held, Report& report) {
  auto made = SubscriptionDatabase::create(RouteSecret::random(), {.max_routes = static_cast<std::uint32_t>(2 * held + 400'000),
                                                                   .max_link_subscriptions = kMaxMaxRoutes});
  if (!made) {
    fail(made.error());
  }
  SubscriptionDatabase& database = **made;
  std::array<RouteTable, 2> tables;
  for (auto& table : tables) {
    auto fresh = database.make_table();
    if (!fresh) {
      fail(fresh.error());
    }
    table = std::move(*fresh);
    if (auto attached = database.attach(table); !attached) {
      fail(attached.error());
    }
  }
  std::vector<RouteUpdate> waiting;
  std::uint64_t longest_ns = 0;
  const auto apply = [&] {
    for (auto& table : tables) {
      const std::uint64_t start = thread_cpu_ns();
      for (const auto& update : waiting) {
        table.apply(update);
      }
      longest_ns = std::max(longest_ns, thread_cpu_ns() - start);
    }
    waiting.clear();
  };
  database.set_post([&](const RouteUpdate& update) {
    waiting.push_back(update);
    if (waiting.size() == kCommandsPerLoop) {
      apply();
    }
  });
  subscribe_all(database, held);
  apply();
  longest_ns = 0;
  constexpr std::uint64_t kChanges = 200'000;
  const std::uint64_t start = thread_cpu_ns();
  for (std::uint64_t i = held; i < held + kChanges; ++i) {
    if (!database.subscribe({.link = static_cast<LinkIndex>(1 + i % kLinks), .name = nth_name(i), .subscription_id = i + 1})) {
      fail("a subscription was refused");
    }
  }
  apply();
  const double seconds = static_cast<double>(thread_cpu_ns() - start) * 1e-9;
  report.figures.emplace_back(fmt::format("subscriptions/s, {} held, 2 copies", size_text(std::max<std::uint64_t>(held, 1024))),
                              static_cast<double>(kChanges) / seconds);
  report.figures.emplace_back(fmt::format("us for {} updates at most, {} held", kCommandsPerLoop,
                                          size_text(std::max<std::uint64_t>(held, 1024))),
                              static_cast<double>(longest_ns) * 1e-3);
}

int run(const Options& options) {
  start_dpdk(options.quick ? 512 : 2560);
  Report report;
  report.bench = "table";
  report.bar = 2.0;
  report.decisive = {"1M hits", "1M misses"};
  compare_size(64u << 10, options, report);
  compare_size(1'000'000, options, report);
  if (!options.quick) {
    compare_size(10'000'000, options, report);
  }
  measure_changes(0, report);
  measure_changes(1'000'000, report);
  const int code = print_report(report, options);
  rte_eal_cleanup();
  return code;
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) { return slipway::bench::run(slipway::bench::parse_options(argc, argv)); }
