// Our route lookup in bursts against DPDK's rte_hash bulk lookup with the full 40-byte name as key, on the same
// names in the same order, hits and misses apart. Then what the control thread's side costs: subscriptions a second
// through the database and two workers' copies, and bytes a route.

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <fstream>
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

// Frames whose headers were just read: names lie in the caches near the core when they are looked up. Takes 2,048 names
// after another from all of them, outside the timed part, then times the lookups alone.
class Feed {
 public:
  explicit Feed(const std::vector<NameBytes>& names) : names_(names) {
    for (std::size_t i = 0; i < kNames; ++i) {
      pointers_[i] = near_[i].data();
    }
  }
  // `look`(32 pointers) returns how many it found.
  template <class Look>
  Work run(std::uint64_t ns, bool hit, Look&& look) {
    Work work;
    std::uint64_t found = 0;
    work.operations = run_for(ns, [&] {
      at_ = at_ + kNames <= names_.size() ? at_ : 0;
      std::copy_n(names_.begin() + static_cast<std::ptrdiff_t>(at_), kNames, near_.begin());
      at_ += kNames;
      const std::uint64_t start = thread_cpu_ns();
      for (std::size_t i = 0; i < kNames; i += kMaxBurst) {
        found += look(pointers_.data() + i);
      }
      work.timed_ns += thread_cpu_ns() - start;
      return kNames;
    });
    if (found != (hit ? work.operations : 0)) {
      fail(fmt::format("found {} of {} names", found, work.operations));
    }
    return work;
  }

 private:
  static constexpr std::size_t kNames = 2048;
  const std::vector<NameBytes>& names_;
  std::vector<NameBytes> near_ = std::vector<NameBytes>(kNames);
  std::array<const std::byte*, kNames> pointers_{};
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
    return [this, feed = std::make_shared<Feed>(names), hit](std::uint64_t ns) {
      return feed->run(ns, hit, [this](const std::byte* const* burst) {
        std::array<RouteMatch, kMaxBurst> matches;
        table.lookup({burst, kMaxBurst}, matches.data());
        std::uint64_t found = 0;
        for (const RouteMatch match : matches) {
          found += match.found() ? 1 : 0;
        }
        return found;
      });
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
    return [this, feed = std::make_shared<Feed>(names), hit](std::uint64_t ns) {
      return feed->run(ns, hit, [this](const std::byte* const* burst) {
        std::array<const void*, kMaxBurst> keys;
        std::array<void*, kMaxBurst> data;
        std::copy_n(burst, kMaxBurst, keys.begin());
        std::uint64_t mask = 0;
        rte_hash_lookup_bulk_data(hash, keys.data(), kMaxBurst, &mask, data.data());
        return static_cast<std::uint64_t>(std::popcount(mask));
      });
    };
  }

  rte_hash* hash = nullptr;
};

std::uint32_t free_huge_pages() {
  std::ifstream file("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
  std::uint32_t pages = 0;
  file >> pages;
  return file ? pages : 0;
}

// Both tables lie on pages of the same size: reserved huge pages where there are enough for both, else small ones
// (DPDK's memory without huge pages is a shared mapping, which takes no transparent ones: ours does without them too).
bool start_dpdk(std::uint32_t megabytes) {
  const bool huge = free_huge_pages() >= megabytes / 2 + megabytes / 4;
  const std::string memory = std::to_string(megabytes);
  std::vector<std::string> words = {"table", "--no-pci", "--no-telemetry", "-m", memory, "--lcores", "0@(0-1)", "--log-level", "error"};
  if (huge) {
    words.emplace_back("--in-memory");
  } else {
    words.insert(words.end(), {"--no-huge", "--no-shconf"});
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  }
  std::vector<char*> pointers;
  for (auto& word : words) {
    pointers.push_back(word.data());
  }
  if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) {
    fail(fmt::format("starting DPDK: {}", rte_strerror(rte_errno)));
  }
  return huge;
}

std::string size_text(std::uint64_t names) {
  return names >= 1'000'000 ? fmt::format("{}M", names / 1'000'000) : fmt::format("{}k", names % 1000 == 0 ? names / 1000 : names >> 10);
}

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

// The whole way of a subscription: database, then two workers' copies, with `held` routes there.
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
  std::vector<std::uint64_t> batch_ns;
  const auto apply = [&] {
    for (auto& table : tables) {
      const std::uint64_t start = thread_cpu_ns();
      for (const auto& update : waiting) {
        table.apply(update);
      }
      batch_ns.push_back(thread_cpu_ns() - start);
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
  batch_ns.clear();
  constexpr std::uint64_t kChanges = 200'000;
  const std::uint64_t start = thread_cpu_ns();
  for (std::uint64_t i = held; i < held + kChanges; ++i) {
    if (!database.subscribe({.link = static_cast<LinkIndex>(1 + i % kLinks), .name = nth_name(i), .subscription_id = i + 1})) {
      fail("a subscription was refused");
    }
  }
  apply();
  const double seconds = static_cast<double>(thread_cpu_ns() - start) * 1e-9;
  std::sort(batch_ns.begin(), batch_ns.end());
  const std::string held_text = held == 0 ? "none" : size_text(held);
  report.figures.emplace_back(fmt::format("subscriptions/s, {} held, 2 copies", held_text), static_cast<double>(kChanges) / seconds);
  report.figures.emplace_back(fmt::format("us for {} updates, median, {} held", kCommandsPerLoop, held_text),
                              static_cast<double>(batch_ns[batch_ns.size() / 2]) * 1e-3);
  report.figures.emplace_back(fmt::format("us for {} updates, p99, {} held", kCommandsPerLoop, held_text),
                              static_cast<double>(batch_ns[batch_ns.size() * 99 / 100]) * 1e-3);
}

int run(const Options& options) {
  const bool huge = start_dpdk(options.quick ? 512 : 2560);
  Report report;
  report.figures.emplace_back("huge pages", huge ? 1 : 0);
  report.bench = "table";
  report.bar = 2.0;
  report.decisive = {"1M hits", "1M misses"};
  compare_size(64u << 10, options, report);
  compare_size(1'000'000, options, report);
  if (!options.quick) {
    compare_size(10'000'000, options, report);
  }
  for (const std::uint64_t held : {0, 10'000, 100'000, 1'000'000}) {
    measure_changes(held, report);
  }
  const int code = print_report(report, options);
  rte_eal_cleanup();
  return code;
}

}  // namespace
}  // namespace slipway::bench

int main(int argc, char** argv) { return slipway::bench::run(slipway::bench::parse_options(argc, argv)); }
