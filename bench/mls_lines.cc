#include "mls_lines.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace slipway::bench {
namespace {

constexpr double kMostFloorDrift = 1.25;
constexpr double kMostShape = 1.2;
constexpr std::uint32_t kShapeSmall = 10;
constexpr std::uint32_t kShapeLarge = 5000;

using P = const Primitives&;

// The table of targets. Margins above the floor are for hashing, encoding and symmetric work.
constexpr std::array<LineKind, static_cast<std::size_t>(Operation::kCount)> kKinds = {{
    {"key package", 1.2, 0, 0, [](P f, double, double) { return 2 * f.keygen + 2 * f.sign; }, false},
    {"create", 1.2, 0, 0, [](P f, double n, double) { return n * (2 * f.verify + f.keygen + f.dh) + 2 * f.sign; }, true},
    {"create, two threads", 0.7, 0, 0, [](P f, double n, double) { return n * (2 * f.verify + f.keygen + f.dh) + 2 * f.sign; }, true},
    {"join", 1.15, 0, 0, [](P f, double n, double) { return (n + 2) * f.verify + f.dh; }, true},
    {"join, two threads", 0.65, 0, 0, [](P f, double n, double) { return (n + 2) * f.verify + f.dh; }, true},
    {"update, cold tree", 1.2, 0, 0, [](P f, double n, double p) { return n * (f.keygen + f.dh) + p * f.keygen + 2 * f.sign; }, true},
    {"update, cold tree, two threads", 0.7, 0, 0, [](P f, double n, double p) { return n * (f.keygen + f.dh) + p * f.keygen + 2 * f.sign; }, true},
    {"update, warm tree", 1.3, 100'000, 0, [](P f, double, double p) { return p * (2 * f.keygen + f.dh) + 2 * f.sign; }, true},
    {"process update, warm tree", 1.3, 100'000, 0, [](P f, double, double p) { return 2 * f.verify + f.dh + p * f.keygen; }, true},
    {"add one, create", 1.3, 100'000, 0, [](P f, double, double) { return 2 * f.verify + f.keygen + f.dh + 2 * f.sign; }, true},
    {"add one, process", 1.25, 100'000, 0, [](P f, double, double) { return 3 * f.verify; }, true},
    {"protect 64 B", 1.15, 12'000, 0, [](P f, double, double) { return f.sign; }, true},
    {"protect 1 KiB", 1.15, 12'000, 0, [](P f, double, double) { return f.sign; }, true},
    {"protect 16 KiB", 1.2, 0, 0, [](P f, double, double) { return f.sign_16k + f.seal_16k; }, true},
    {"unprotect 64 B", 1.10, 12'000, 0, [](P f, double, double) { return f.verify; }, true},
    {"unprotect 1 KiB", 1.10, 12'000, 0, [](P f, double, double) { return f.verify; }, true},
    {"unprotect 16 KiB", 1.2, 0, 0, [](P f, double, double) { return f.verify_16k + f.open_16k; }, true},
    {"protect 64 B, first of epoch", 1.15, 12'000, 3, [](P f, double, double) { return f.sign; }, false},
    {"unprotect 64 B, first of epoch", 1.10, 12'000, 3, [](P f, double, double) { return f.verify; }, false},
    {"snapshot after a message", 20'000, 0, 0, nullptr, false},
    {"its bytes", 1024, 0, 0, nullptr, false},
    {"bytes of state a member", 1024, 0, 0, nullptr, false},
    {"longest step: create", 2e6, 0, 0, nullptr, false},
    {"longest step: join", 2e6, 0, 0, nullptr, false},
    {"longest step: restore", 2e6, 0, 0, nullptr, false},
    {"longest step: update, cold tree", 2e6, 0, 0, nullptr, false},
    {"longest step: process create", 2e6, 0, 0, nullptr, false},
}};

double path_of(std::uint32_t members) { return std::ceil(std::log2(static_cast<double>(members) + 1)); }

std::string figure(Operation operation, double value) {
  const bool bytes = operation == Operation::kSnapshotSize || operation == Operation::kMemory;
  return bytes ? fmt::format("{:.0f} B", value)
               : value < 1e6 ? fmt::format("{:.1f} us", value / 1e3) : fmt::format("{:.2f} ms", value / 1e6);
}

std::string target_text(Operation operation) {
  const LineKind& kind = kind_of(operation);
  if (kind.floor_ns == nullptr) {
    return figure(operation, kind.target);
  }
  return fmt::format("{:g}{}{}", kind.target, kind.extra_ns > 0 ? fmt::format(" + {:g} us", kind.extra_ns / 1e3) : "",
                     kind.expands > 0 ? fmt::format(" + {:g}P exp", kind.expands) : "");
}

std::string name_of(const LineId& id) {
  return fmt::format("{}, suite {}, N={}", kind_of(id.operation).name, id.suite, id.members);
}

nlohmann::ordered_json to_json(const LineId& id, const Line& line) {
  nlohmann::ordered_json json = {{"operation", kind_of(id.operation).name}, {"suite", id.suite}, {"members", id.members},
                                 {"value", median(line.values)}, {"share", median(line.shares)},
                                 {"target", kind_of(id.operation).target}, {"repetitions", line.values.size()},
                                 {"disturbed", line.disturbed}};
  if (!line.multiples.empty()) {
    json["floor_ns"] = median(line.floors_ns);
    json["multiple"] = median(line.multiples);
  }
  return json;
}

}  // namespace

const LineKind& kind_of(Operation operation) { return kKinds[static_cast<std::size_t>(operation)]; }

bool Recorder::add(const LineId& id, const Primitives& before, const Primitives& after, double time_ns) {
  const LineKind& kind = kind_of(id.operation);
  const double path = path_of(id.members);
  Line& line = lines_[id];
  const double first = kind.floor_ns(before, id.members, path);
  const double second = kind.floor_ns(after, id.members, path);
  if (std::max(first, second) > kMostFloorDrift * std::min(first, second)) {
    ++line.disturbed;
    if (!keep_disturbed_) {
      return false;
    }
  }
  const Primitives both = mean(before, after);
  const double floor = kind.floor_ns(both, id.members, path);
  line.values.push_back(time_ns);
  line.floors_ns.push_back(floor);
  line.multiples.push_back(time_ns / floor);
  line.shares.push_back(time_ns / (kind.target * floor + kind.extra_ns + kind.expands * path * both.expand));
  return true;
}

void Recorder::add_absolute(const LineId& id, double value) {
  Line& line = lines_[id];
  line.values.push_back(value);
  line.shares.push_back(value / kind_of(id.operation).target);
}

void Recorder::print_header() const {
  fmt::print("{:<31} {:>5} {:>5} {:>11} {:>11} {:>8} {:>15} {:>7} {:>6} {:>6} {:>4} {:>5}\n", "operation", "suite", "N", "floor",
             "measured", "multiple", "target", "share", "low", "high", "reps", "dist.");
}

void Recorder::print(std::uint16_t suite, std::uint32_t members) const {
  for (const auto& [id, line] : lines_) {
    if (id.suite != suite || id.members != members) {
      continue;
    }
    const Comparison share = summarize("", line.shares, 0);
    const bool floor = !line.multiples.empty();
    const bool measured = !line.values.empty();
    fmt::print("{:<31} {:>5} {:>5} {:>11} {:>11} {:>8} {:>15} {:>7.2f} {:>6.2f} {:>6.2f} {:>4} {:>5} {}\n",
               kind_of(id.operation).name, id.suite, id.members, floor ? figure(id.operation, median(line.floors_ns)) : "-",
               measured ? figure(id.operation, median(line.values)) : "-",
               floor ? fmt::format("{:.2f}", median(line.multiples)) : "-", target_text(id.operation), share.ratio, share.low,
               share.high, line.values.size(), line.disturbed,
               !measured ? "not measured: disturbed" : share.ratio > 1 ? "MISSED" : "");
  }
  std::fflush(stdout);
}

void Recorder::print_shape() const {
  fmt::print("\nshape: the multiple at N={} over that at N={}, at most {}\n", kShapeLarge, kShapeSmall, kMostShape);
  bool any = false;
  for (const auto& [id, line] : lines_) {
    const auto large = lines_.find({id.suite, kShapeLarge, id.operation});
    if (id.members != kShapeSmall || !kind_of(id.operation).grows || large == lines_.end() || line.multiples.empty() ||
        large->second.multiples.empty()) {
      continue;
    }
    any = true;
    const double shape = median(large->second.multiples) / median(line.multiples);
    fmt::print("{:<31} {:>5} {:>6.2f} {}\n", kind_of(id.operation).name, id.suite, shape, shape > kMostShape ? "MISSED" : "");
  }
  if (!any) {
    fmt::print("not measured: it takes both group sizes\n");
  }
}

int Recorder::finish(const Options& options, const std::vector<std::string>& left_out) const {
  const LineId* worst = nullptr;
  double worst_share = 0;
  std::uint32_t disturbed = 0;
  std::size_t missed = 0;
  for (const auto& [id, line] : lines_) {
    disturbed += line.disturbed;
    if (line.shares.empty()) {
      continue;
    }
    const double share = median(line.shares);
    missed += share > 1 ? 1 : 0;
    if (worst == nullptr || share > worst_share) {
      worst = &id;
      worst_share = share;
    }
  }
  for (const std::string& text : left_out) {
    fmt::print("left out: {}\n", text);
  }
  if (worst == nullptr) {
    fmt::print("mls: not measured: the machine was too busy; stop other work, or see --busy\n");
    return 3;
  }
  const Line& line = lines_.at(*worst);
  const Comparison share = summarize(name_of(*worst), line.shares, disturbed);
  fmt::print("mls: worst line at {:.2f} of what its target allows ({}); {} of {} lines miss their target\n", share.ratio,
             share.name, missed, lines_.size());
  if (options.json) {
    nlohmann::ordered_json json = {{"bench", "mls"}, {"ratio", share.ratio}, {"low", share.low}, {"high", share.high},
                                   {"pairs", share.pairs}, {"dropped", disturbed}, {"decided_by", share.name}, {"bar", 1.0},
                                   {"missed", missed}, {"busy", options.busy}, {"left_out", left_out}};
    for (const auto& [id, each] : lines_) {
      if (!each.values.empty()) {
        json["lines"].push_back(to_json(id, each));
      }
    }
    fmt::print("{}\n", json.dump());
  }
  return 0;
}

}  // namespace slipway::bench
