#pragma once
// Certificates for tests, made when a test asks: a CA, and what it signs. Elliptic keys, valid for a day around now.

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>

namespace slipway::test {

struct Certificate {
  std::string pem;
  std::string key_pem;
  std::shared_ptr<X509> x509;
  std::shared_ptr<EVP_PKEY> key;
};

inline std::string pem_of(const auto& write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(bytes));
  BIO_free(bio);
  return text;
}

// Signed by `issuer`, or by itself (then it is a CA). `names`: "DNS:localhost,IP:127.0.0.1".
inline Certificate make_certificate(const std::string& subject, const Certificate* issuer, const std::string& names = {},
                                    long from_s = -86'400, long to_s = 86'400) {
  static int serial = 1;
  Certificate out;
  out.key = {EVP_EC_gen("P-256"), EVP_PKEY_free};
  out.x509 = {X509_new(), X509_free};
  X509* x = out.x509.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
  X509_gmtime_adj(X509_getm_notBefore(x), from_s);
  X509_gmtime_adj(X509_getm_notAfter(x), to_s);
  X509_set_pubkey(x, out.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
  X509_set_issuer_name(x, X509_get_subject_name(issuer == nullptr ? x : issuer->x509.get()));
  const auto extend = [&](int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer == nullptr ? x : issuer->x509.get(), x, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    EXPECT_NE(extension, nullptr) << value;
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (!names.empty()) {
    extend(NID_subject_alt_name, names);
  }
  X509_sign(x, (issuer == nullptr ? out : *issuer).key.get(), EVP_sha256());
  out.pem = pem_of([&](BIO* bio) { PEM_write_bio_X509(bio, x); });
  out.key_pem = pem_of([&](BIO* bio) { PEM_write_bio_PrivateKey(bio, out.key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  return out;
}

}  // namespace slipway::test
