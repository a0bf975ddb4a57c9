#pragma once
// What the control thread knows of links to upstream's applications and nodes, beside what it knows of any link.
// Control thread.

#include <memory>
#include <optional>
#include <string>

#include "edge/auth_jwt.h"
#include "edge/negotiation.h"
#include "edge/transport_config.h"

namespace slipway {

// How links of one listener, or of one entry of `clients`, are spoken to and what is asked of them.
struct EdgeProfile {
  std::shared_ptr<const TransportConfig> transport;
  NegotiationConfig negotiation;
  std::string link_id;              // of links that we make
  bool tcp = true;
  // Credentials of links that we make, where they are made for each connection.
  std::shared_ptr<const JwtSigner> signer;
  std::string token_file;
};

struct EdgeState {
  std::shared_ptr<const EdgeProfile> profile;
  std::unique_ptr<NegotiationAcceptor> acceptor;    // links that others make, from the first event on
  std::unique_ptr<NegotiationInitiator> initiator;  // links that we make
  // For people, once it is known.
  std::string tls;                  // "TLSv1.3 TLS_AES_256_GCM_SHA384"; empty: none
  std::string certificate;          // subject of the peer's
  std::string user;                 // whom its credentials name
  std::string link_id;
  std::string key_agreement;        // "x25519", "x25519+mlkem768", "none"
  bool mac = false;
  std::uint8_t close_status = 0;    // how its stream is to end
  std::uint8_t close_text = 0;
};

}  // namespace slipway
