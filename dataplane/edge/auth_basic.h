#pragma once
// User name and password as credentials of a connection (RFC 7617): one pair, as upstream has it.

#include <string>
#include <string_view>

#include "edge/auth_guard.h"

namespace slipway {

// "Basic <base64>": what a client sends. Also a proxy's.
[[nodiscard]] std::string basic_authorization(std::string_view user, std::string_view password);

class BasicGuard final : public AuthGuard {
 public:
  BasicGuard(std::string_view user, std::string_view password);
  ~BasicGuard() override;
  BasicGuard(const BasicGuard&) = delete;
  BasicGuard& operator=(const BasicGuard&) = delete;
  [[nodiscard]] AuthVerdict check(std::string_view authorization, std::int64_t unix_s) const override;

 private:
  std::string expected_;
  std::string user_;
};

}  // namespace slipway
