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
  // Of `doctor`: the step that failed.
  kDns = 10,
  kTcp = 11,
  kTls = 12,
  kHttp = 13,
  kMethod = 14,
  kNegotiation = 15,
  kMac = 16,
  kSubscribe = 17,
  kEcho = 18,
};

struct ExitCodeText {
  ExitCode code;
  std::string_view text;
};
inline constexpr std::array<ExitCodeText, 18> kExitCodes = {{
    {ExitCode::kOk, "it worked"},
    {ExitCode::kFailed, "it failed in a way that has no number of its own; the message says how"},
    {ExitCode::kUsage, "wrong arguments"},
    {ExitCode::kNotReachable, "no node answers at the address"},
    {ExitCode::kRefused, "the node refused"},
    {ExitCode::kNotFound, "what was named does not exist: a link, a route, a file"},
    {ExitCode::kTimeout, "no answer in time"},
    {ExitCode::kCheckFailed, "a check failed: preflight found something missing, or the books do not balance"},
    {ExitCode::kNoReceiver, "a message was sent and reached nobody"},
    {ExitCode::kDns, "doctor: the endpoint's name has no address"},
    {ExitCode::kTcp, "doctor: no connection"},
    {ExitCode::kTls, "doctor: no TLS, or a certificate was refused"},
    {ExitCode::kHttp, "doctor: the port speaks no HTTP/2, or no WebSocket"},
    {ExitCode::kMethod, "doctor: the gRPC method was refused"},
    {ExitCode::kNegotiation, "doctor: the link was not negotiated; of a native listener, the hello"},
    {ExitCode::kMac, "doctor: the node signs messages wrongly"},
    {ExitCode::kSubscribe, "doctor: a subscription was not accepted"},
    {ExitCode::kEcho, "doctor: a message to ourselves did not arrive"},
}};

// Why a verb could not do what it was asked; printed on stderr (with --json: as an object).
struct Failure {
  ExitCode code = ExitCode::kFailed;
  std::string error;
  std::string remedy;  // what to try; may be empty
};

}  // namespace slipway::ctl
