#pragma once
// What every benchmark here does alike: two arms alternate in one process, block by block, and only their ratio
// counts. Absolute rates of one unchanged program vary by a factor of two on shared machines; the ratio of
// neighbouring blocks does not. A pair counts only if the thread had the CPU for nearly all of both blocks.
//
// A benchmark is one program, bench/<name>, that accepts --quick (ends within 45 s) and --json (the last line is
// one JSON object with at least bench, ratio, low, high and pairs), and one line in bench/list.txt.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace slipway::bench {

struct Options {
  bool quick = false;
  bool json = false;
  bool busy = false;              // keep disturbed pairs too, rated by thread CPU time: for machines that do other work
  std::uint32_t pairs = 20;       // kept pairs that a comparison wants
  std::uint32_t block_ms = 200;
  std::string only;               // run comparisons whose name holds this text; empty: all

  [[nodiscard]] bool wants(std::string_view name) const { return name.find(only) != std::string_view::npos; }
};

// Parses --quick, --json, --busy, --pairs N, --block-ms N, --only TEXT; prints what is wrong and leaves with 2 on anything else.
// --quick asks for fewer and shorter blocks unless --pairs or --block-ms say otherwise.
Options parse_options(int argc, char** argv);

// What a block did. An arm that prepares its input inside the block (both arms alike) says how much thread CPU time
// the timed part took; 0: all of the block.
struct Work {
  std::uint64_t operations = 0;
  std::uint64_t timed_ns = 0;
};

// Runs for about `ns` nanoseconds of wall time.
using Arm = std::function<Work(std::uint64_t ns)>;

// 0 of none.
double median(std::vector<double> values);

struct Comparison {
  std::string name;
  double ratio = 0;          // median of rate(ours) / rate(reference), by thread CPU time, over the kept pairs
  double low = 0;            // its first and ninth decile
  double high = 0;
  std::uint32_t pairs = 0;   // kept
  std::uint32_t dropped = 0; // thread CPU below 0.95 of wall time in one of the two blocks (with --busy: kept all the same)
  double ours_ns = 0;        // median of nanoseconds an operation, for orientation only
  double reference_ns = 0;
  double limit = 0;          // of the ratio, where less is better (Report::less)
};

// One warm-up block each, then pairs in turn (the order within a pair changes from pair to pair) until enough are
// kept or twice as many have been tried.
Comparison compare(std::string name, const Arm& ours, const Arm& reference, const Options& options);

// From ratios that a benchmark measured by other means (CPU seconds of processes, say).
Comparison summarize(std::string name, std::vector<double> ratios, std::uint32_t dropped);

struct Report {
  std::string bench;
  std::vector<Comparison> comparisons;
  std::vector<std::string> decisive;  // names of comparisons; the smallest of them is the benchmark's ratio; empty: all
  double bar = 0;                     // what the decisive ratio should reach; 0: none
  // The other way round: ratios are cost(ours) / cost(reference), each with a limit of its own. The benchmark's ratio is that which
  // is the largest part of its limit, scaled so that `bar` is the limit.
  bool less = false;
  std::vector<std::pair<std::string, double>> figures;  // further numbers worth keeping
};

// A table for people and, with --json, the JSON object as last line. Returns the program's exit code: 0, or 3 when
// a comparison kept no pair (the machine was too busy to measure). Missing a bar is reported, not an error.
int print_report(const Report& report, const Options& options);

// Clocks.
std::uint64_t wall_ns();
std::uint64_t thread_cpu_ns();

// Calls `batch` (which returns how many operations it did) until `ns` have passed; looks at the clock once a call.
template <class Batch>
std::uint64_t run_for(std::uint64_t ns, Batch&& batch) {
  const std::uint64_t end = wall_ns() + ns;
  std::uint64_t operations = 0;
  do {
    operations += batch();
  } while (wall_ns() < end);
  return operations;
}

}  // namespace slipway::bench
