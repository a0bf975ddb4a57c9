#pragma once
// Who may open a stream: asked once for each request, with the value of its Authorization header, and never again
// during the stream's life (upstream-node spec, transport-level authentication). Implementations: auth_basic.h,
// auth_jwt.h. Shared by all workers: const, and safe to call from any thread.

#include <cstdint>
#include <string>
#include <string_view>

namespace slipway {

struct AuthVerdict {
  int http_status = 200;   // 200: may; 401: no or wrong credentials; 403: known, and may not
  std::string challenge;   // value of www-authenticate with a 401
  std::string subject;     // who it is, where the credentials say so
  std::string reason;      // of a refusal, for the log: never has a part of the credentials
};

class AuthGuard {
 public:
  virtual ~AuthGuard() = default;
  // `authorization`: empty when the header is absent. `unix_s`: seconds since 1970.
  [[nodiscard]] virtual AuthVerdict check(std::string_view authorization, std::int64_t unix_s) const = 0;
  // Whether a WebSocket client may give its token in the query (browsers cannot set headers).
  [[nodiscard]] virtual bool takes_query_token() const { return false; }
};

}  // namespace slipway
