#pragma once
// How slipwayctl ends: scripts rely on these. Documented in the manual page, which lists this table.

#include <array>
#include <string>
#include <string_view>

namespace slipway::ctl {

enum class ExitCode : int {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,
  kNotReachable = 3,
  kRefused = 4,
  kNotFound = 5,
  kTimeout = 6,
  kCheckFailed = 7,
  kNoReceiver = 8,
};

struct ExitCodeText {
  ExitCode code;
  std::string_view text;
};
inline constexpr std::array<ExitCodeText, 9> kExitCodes = {{
    {ExitCode::kOk, "it worked"},
    {ExitCode::kFailed, "it failed in a way that has no number of its own; the message says how"},
    {ExitCode::kUsage, "wrong arguments"},
    {ExitCode::kNotReachable, "no node answers at the address"},
    {ExitCode::kRefused, "the node refused"},
    {ExitCode::kNotFound, "what was named does not exist: a link, a route, a file"},
    {ExitCode::kTimeout, "no answer in time"},
    {ExitCode::kCheckFailed, "a check failed: preflight found something missing, or the books do not balance"},
    {ExitCode::kNoReceiver, "a message was sent and reached nobody"},
}};

// Why a verb could not do what it was asked; printed on stderr (with --json: as an object).
struct Failure {
  ExitCode code = ExitCode::kFailed;
  std::string error;
  std::string remedy;  // what to try; may be empty
};

}  // namespace slipway::ctl
