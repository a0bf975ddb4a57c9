// Requests to the channel manager, and what owners sign: nothing throws, and whatever was refused has words.

#include "channel_manager/manager_messages.h"
#include "channel_manager/signed_request.h"
#include "edge/did_key.h"
#include "require.h"

namespace {

// Ed25519 of 32 bytes 01.
constexpr const char* kOwner = "did:key:z6Mkon3Necd6NkkyfoGoHxid2znGc59LU3K7mubaRcFbLfLX";

template <class Result>
void check(const Result& result) {
  FUZZ_REQUIRE(result.has_value() || !result.error().empty());
}

void check_signed(std::string_view json) {
  using namespace slipway;
  const auto creation = verify_creation(json);
  check(creation);
  if (creation) {
    FUZZ_REQUIRE(ed25519_of_did_key(creation->owner).has_value());
    FUZZ_REQUIRE(signed_bytes(*creation).starts_with("SLIM-CHANNEL-CREATE/1"));
  }
  check(verify_deletion(kOwner, json));
  check(verify_grant(kOwner, json));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace slipway;
  const auto bytes = std::as_bytes(std::span(data, size));
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto create = decode_create_channel(bytes);
  check(create);
  if (create && create->owner_proof) {
    check_signed(*create->owner_proof);
  }
  check(decode_delete_channel(bytes));
  check(decode_participant_request(bytes));
  check(decode_list_participants(bytes));
  check(decode_list_channels(bytes));
  check(decode_approval_response(bytes));
  check_signed(text);
  if (const auto key = ed25519_of_did_key(text); key) {
    FUZZ_REQUIRE(did_key_of_ed25519(*key) == text);
  }
  return 0;
}
