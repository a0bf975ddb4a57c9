#pragma once
// Parts of entries of upstream's `servers`, `clients` and `peers`, read by config_services.cc. Control thread.

#include <string>
#include <string_view>

#include "node/settings.h"
#include "node/yaml_section.h"

namespace slipway {

// The word that `section.key` has under `word`, without a look at its other keys, which may belong to a kind that is
// not served. Empty: none.
std::string word_of(const YamlSection& section, std::string_view key, std::string_view word);

// The entry's `auth`: basic, jwt, and for clients static_jwt.
void read_edge_auth(YamlSection& entry, bool server, EdgeAuthSettings& out);

// A `tls` section, or what holds without one. False: `insecure`.
bool read_tls(YamlSection section, bool server, TlsOptions& tls);

// The entry's `proxy`, or where it names none the one of the usual variables: http_proxy, https_proxy, all_proxy, and
// no_proxy for what is reached without (capitals too).
void read_proxy(YamlSection& entry, EdgeClientSettings& client);

}  // namespace slipway
