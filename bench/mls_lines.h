#pragma once
// The lines of the MLS benchmark: what is measured, against which floor, with which target; and what was measured.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "harness.h"
#include "mls_floor.h"

namespace slipway::bench {

enum class Operation : std::uint8_t {
  kKeyPackage,
  kCreate,
  kCreateTwoThreads,
  kJoin,
  kJoinTwoThreads,
  kUpdateCold,
  kUpdateColdTwoThreads,
  kUpdateWarm,
  kProcessUpdateWarm,
  kAddCreate,
  kAddProcess,
  kProtect64,
  kProtect1k,
  kProtect16k,
  kUnprotect64,
  kUnprotect1k,
  kUnprotect16k,
  kProtectFirst,
  kUnprotectFirst,
  kSnapshotTime,
  kSnapshotSize,
  kMemory,
  kStepCreate,
  kStepJoin,
  kStepRestore,
  kStepUpdate,
  kStepProcess,
  kCount,
};

struct LineKind {
  const char* name;
  double target;      // multiple of the floor; of absolute lines: nanoseconds or bytes
  double extra_ns;    // allowed on top
  double expands;     // hash expands allowed on top, times P
  // For N members besides the caller, P = ceil(log2(N+1)); null: no floor, the target is absolute.
  double (*floor_ns)(const Primitives& p, double members, double path);
  bool grows;         // part of the check that the multiple does not grow with N
};
const LineKind& kind_of(Operation operation);

// All that was measured of one operation, suite and N.
struct Line {
  std::vector<double> values;     // nanoseconds, or bytes
  std::vector<double> floors_ns;
  std::vector<double> multiples;  // of the floor
  std::vector<double> shares;     // value / what is allowed; above 1 the target is missed
  std::uint32_t disturbed = 0;    // repetitions thrown away: the floor before and after them differed by a quarter
};

struct LineId {
  std::uint16_t suite = 0;
  std::uint32_t members = 0;
  Operation operation{};
  friend auto operator<=>(const LineId&, const LineId&) = default;
};

class Recorder {
 public:
  explicit Recorder(bool keep_disturbed) : keep_disturbed_(keep_disturbed) {}

  // A time between two samples of the floor. False if it was thrown away.
  bool add(const LineId& id, const Primitives& before, const Primitives& after, double time_ns);
  void add_absolute(const LineId& id, double value);

  void print_header() const;
  void print(std::uint16_t suite, std::uint32_t members) const;
  // The multiple at the largest N against that at the smallest, for each line that grows with N.
  void print_shape() const;
  // The last lines: the worst share of all lines, and the JSON object if asked for. 3 if nothing was measured.
  int finish(const Options& options, const std::vector<std::string>& left_out) const;

 private:
  bool keep_disturbed_;
  std::map<LineId, Line> lines_;
};

}  // namespace slipway::bench
