#include "identity/kept_identity.h"

namespace slipway {
namespace {

constexpr std::size_t kScalarBytes = 32;

}  // namespace

std::string kept_identity(const Identity& identity) {
  const mls::View scalar = identity.provider->key().mls_key().private_key();
  std::string kept(reinterpret_cast<const char*>(scalar.data()), scalar.size());
  kept += identity.provider->subject();
  return kept;
}

std::string_view kept_key(std::string_view kept) { return kept.size() >= kScalarBytes ? kept.substr(0, kScalarBytes) : std::string_view(); }
std::string_view kept_subject(std::string_view kept) { return kept.size() > kScalarBytes ? kept.substr(kScalarBytes) : std::string_view(); }

}  // namespace slipway
