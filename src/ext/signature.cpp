// Implements ext/signature.h with PostgreSQL's own HMAC and base64.
#include "ext/signature.h"

#include "pg/guard.h"

namespace alerting::ext {

namespace {

constexpr std::string_view kEncodedPrefix = "whsec_";

// PostgreSQL 18 takes unsigned bytes where earlier versions take chars.
struct ConstBytes {
  const void* data;
  operator const char*() const { return static_cast<const char*>(data); }
  operator const uint8*() const { return static_cast<const uint8*>(data); }
};
struct Bytes {
  void* data;
  operator char*() const { return static_cast<char*>(data); }
  operator uint8*() const { return static_cast<uint8*>(data); }
};

// pg_hmac_create registers what it makes with the current resource owner, and outside of
// transactions there is none.
class SigningOwner {
 public:
  SigningOwner() : outer_(CurrentResourceOwner) {
    if (outer_ != nullptr) return;
    own_ = pg::Call([] { return ResourceOwnerCreate(nullptr, "alerting signature"); });
    CurrentResourceOwner = own_;
  }
  ~SigningOwner() {
    CurrentResourceOwner = outer_;
    if (own_ == nullptr) return;
    try {
      pg::Call([&] {
        ResourceOwnerRelease(own_, RESOURCE_RELEASE_BEFORE_LOCKS, false, true);
        ResourceOwnerDelete(own_);
      });
    } catch (...) {
      // It leaks; there is nothing in it that others wait for.
    }
  }
  SigningOwner(const SigningOwner&) = delete;
  SigningOwner& operator=(const SigningOwner&) = delete;

 private:
  ResourceOwner outer_;
  ResourceOwner own_ = nullptr;
};

const uint8* Unsigned(std::string_view bytes) {
  return reinterpret_cast<const uint8*>(bytes.data());
}

// PostgreSQL code; ereports when the library underneath fails.
void ComputeHmac(std::string_view key, std::string_view head, std::string_view body,
                 uint8* digest) {
  pg_hmac_ctx* context = pg_hmac_create(PG_SHA256);
  if (context == nullptr) ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
  if (pg_hmac_init(context, Unsigned(key), key.size()) < 0 ||
      pg_hmac_update(context, Unsigned(head), head.size()) < 0 ||
      pg_hmac_update(context, Unsigned(body), body.size()) < 0 ||
      pg_hmac_final(context, digest, PG_SHA256_DIGEST_LENGTH) < 0) {
    // Its error text could quote its input on no version, but it says nothing to an operator
    // either.
    pg_hmac_free(context);
    ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not sign a webhook")));
  }
  pg_hmac_free(context);
}

}  // namespace

std::optional<std::string> SecretKey(std::string_view secret) {
  if (!secret.starts_with(kEncodedPrefix)) return std::string(secret);
  std::string encoded(secret.substr(kEncodedPrefix.size()));
  // Many generators leave the padding out.
  while (encoded.size() % 4 != 0 && encoded.size() % 4 != 1) encoded += '=';
  if (encoded.empty()) return std::nullopt;
  std::string key(encoded.size(), '\0');
  const int size = static_cast<int>(encoded.size());
  const int decoded = pg_b64_decode(encoded.c_str(), size, Bytes{key.data()}, size);
  if (decoded <= 0) return std::nullopt;
  key.resize(static_cast<size_t>(decoded));
  return key;
}

std::string Sign(std::string_view key, std::string_view id, int64_t unix_seconds,
                 std::string_view body) {
  const std::string head = std::string(id) + "." + std::to_string(unix_seconds) + ".";
  uint8 digest[PG_SHA256_DIGEST_LENGTH];
  {
    const SigningOwner owner;
    pg::Call([&] { ComputeHmac(key, head, body, digest); });
  }
  char encoded[2 * PG_SHA256_DIGEST_LENGTH];
  const int length =
      pg_b64_encode(ConstBytes{digest}, PG_SHA256_DIGEST_LENGTH, encoded, sizeof(encoded));
  return "v1," + std::string(encoded, static_cast<size_t>(length > 0 ? length : 0));
}

}  // namespace alerting::ext
