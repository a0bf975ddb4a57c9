#include "harness.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace slipway::bench {
namespace {

constexpr double kLeastCpuShare = 0.95;
constexpr std::uint32_t kQuickPairs = 10;
constexpr std::uint32_t kQuickBlockMs = 80;

std::uint64_t clock_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const auto above = std::min(below + 1, values.size() - 1);
  return values[below] + (values[above] - values[below]) * (at - static_cast<double>(below));
}

struct Block {
  double ns_per_operation = 0;
  bool undisturbed = false;
};

Block run_block(const Arm& arm, std::uint64_t ns) {
  const std::uint64_t wall = wall_ns();
  const std::uint64_t cpu = thread_cpu_ns();
  const Work work = arm(ns);
  const auto cpu_used = static_cast<double>(thread_cpu_ns() - cpu);
  const auto wall_used = static_cast<double>(wall_ns() - wall);
  const double timed = work.timed_ns != 0 ? static_cast<double>(work.timed_ns) : cpu_used;
  return {work.operations == 0 ? 0 : timed / static_cast<double>(work.operations), cpu_used >= kLeastCpuShare * wall_used};
}

nlohmann::ordered_json to_json(const Comparison& c) {
  return {{"name", c.name},       {"ratio", c.ratio},     {"low", c.low},
          {"high", c.high},       {"pairs", c.pairs},     {"dropped", c.dropped},
          {"ours_ns", c.ours_ns}, {"reference_ns", c.reference_ns}, {"limit", c.limit}};
}

}  // namespace

double median(std::vector<double> values) { return quantile(std::move(values), 0.5); }

std::uint64_t wall_ns() { return clock_ns(CLOCK_MONOTONIC); }
std::uint64_t thread_cpu_ns() { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

Options parse_options(int argc, char** argv) {
  Options options;
  std::uint32_t pairs = 0;
  std::uint32_t block_ms = 0;
  const auto number = [&](int i) -> std::uint32_t {
    const long value = i < argc ? std::strtol(argv[i], nullptr, 10) : 0;
    if (value <= 0 || value > 100'000) {
      fmt::print(stderr, "{} needs a number from 1 to 100000\n", argv[i - 1]);
      std::exit(2);
    }
    return static_cast<std::uint32_t>(value);
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--quick") {
      options.quick = true;
    } else if (word == "--json") {
      options.json = true;
    } else if (word == "--busy") {
      options.busy = true;
    } else if (word == "--pairs") {
      pairs = number(++i);
    } else if (word == "--block-ms") {
      block_ms = number(++i);
    } else if (word == "--only" && i + 1 < argc) {
      options.only = argv[++i];
    } else {
      fmt::print(stderr, "unknown argument {}; known: --quick --json --busy --pairs N --block-ms N --only TEXT\n", word);
      std::exit(2);
    }
  }
  if (options.quick) {
    options.pairs = kQuickPairs;
    options.block_ms = kQuickBlockMs;
  }
  options.pairs = pairs != 0 ? pairs : options.pairs;
  options.block_ms = block_ms != 0 ? block_ms : options.block_ms;
  return options;
}

Comparison compare(std::string name, const Arm& ours, const Arm& reference, const Options& options) {
  const std::uint64_t ns = std::uint64_t{options.block_ms} * 1'000'000u;
  std::vector<double> ratios;
  std::vector<double> ours_ns;
  std::vector<double> reference_ns;
  std::uint32_t dropped = 0;
  ours(ns);
  reference(ns);
  for (std::uint32_t i = 0; i < 2 * options.pairs && ratios.size() < options.pairs; ++i) {
    Block a;
    Block b;
    if (i % 2 == 0) {
      a = run_block(ours, ns);
      b = run_block(reference, ns);
    } else {
      b = run_block(reference, ns);
      a = run_block(ours, ns);
    }
    const bool disturbed = !a.undisturbed || !b.undisturbed;
    dropped += disturbed ? 1 : 0;
    if ((disturbed && !options.busy) || a.ns_per_operation == 0) {
      continue;
    }
    ratios.push_back(b.ns_per_operation / a.ns_per_operation);
    ours_ns.push_back(a.ns_per_operation);
    reference_ns.push_back(b.ns_per_operation);
  }
  Comparison result = summarize(std::move(name), std::move(ratios), dropped);
  result.ours_ns = quantile(std::move(ours_ns), 0.5);
  result.reference_ns = quantile(std::move(reference_ns), 0.5);
  return result;
}

Comparison summarize(std::string name, std::vector<double> ratios, std::uint32_t dropped) {
  Comparison result;
  result.name = std::move(name);
  result.pairs = static_cast<std::uint32_t>(ratios.size());
  result.dropped = dropped;
  result.ratio = quantile(ratios, 0.5);
  result.low = quantile(ratios, 0.1);
  result.high = quantile(std::move(ratios), 0.9);
  return result;
}

int print_report(const Report& report, const Options& options) {
  const Comparison* worst = nullptr;
  const auto is_worse = [&](const Comparison& a, const Comparison& b) { return report.less ? a.ratio / a.limit > b.ratio / b.limit : a.ratio < b.ratio; };
  bool unmeasured = false;
  fmt::print("{:<36} {:>7} {:>7} {:>7} {:>6} {:>8} {:>10} {:>10}\n", report.bench, "ratio", "low", "high", "pairs", "dropped",
             "ours ns", "ref ns");
  for (const auto& c : report.comparisons) {
    fmt::print("{:<36} {:>7.2f} {:>7.2f} {:>7.2f} {:>6} {:>8} {:>10.1f} {:>10.1f}\n", c.name, c.ratio, c.low, c.high, c.pairs,
               c.dropped, c.ours_ns, c.reference_ns);
    const bool decides =
        report.decisive.empty() || std::find(report.decisive.begin(), report.decisive.end(), c.name) != report.decisive.end();
    if (decides) {
      unmeasured |= c.pairs == 0;
      worst = worst == nullptr || is_worse(c, *worst) ? &c : worst;
    }
  }
  for (const auto& [name, value] : report.figures) {
    fmt::print("{:<36} {:>.6g}\n", name, value);
  }
  if (worst == nullptr || unmeasured) {
    fmt::print("{}: not measured: the machine was too busy; stop other work, or see --busy\n", report.bench);
    return 3;
  }
  const double scale = report.less ? report.bar / worst->limit : 1;
  const double ratio = worst->ratio * scale;
  if (report.bar > 0) {
    fmt::print("{}: {:.2f} ({}), bar {:.2f}: {}\n", report.bench, ratio, worst->name, report.bar,
               (report.less ? ratio <= report.bar : ratio >= report.bar) ? "reached" : "missed");
  }
  if (options.json) {
    nlohmann::ordered_json json = {{"bench", report.bench}, {"ratio", ratio}, {"low", worst->low * scale},
                                   {"high", worst->high * scale},   {"pairs", worst->pairs}, {"dropped", worst->dropped},
                                   {"decided_by", worst->name}, {"bar", report.bar}, {"busy", options.busy}};
    for (const auto& c : report.comparisons) {
      json["comparisons"].push_back(to_json(c));
    }
    for (const auto& [name, value] : report.figures) {
      json["figures"][name] = value;
    }
    fmt::print("{}\n", json.dump());
  }
  return 0;
}

}  // namespace slipway::bench
