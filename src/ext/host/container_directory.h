// What the host's tables say of containers: do they exist, to which organization do they belong,
// what are they called. Queries run as the containers table's owner, restricted, since the
// organization may be the host's expression. Evaluator and backends, in a transaction with SPI.
#ifndef ALERTING_EXT_HOST_CONTAINER_DIRECTORY_H_
#define ALERTING_EXT_HOST_CONTAINER_DIRECTORY_H_

#include <array>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ext/host/binding.h"
#include "pg/key_lookup.h"
#include "pg/spi.h"

namespace alerting::ext {

struct ContainerInfo {
  std::string key;                          // canonical, as the host's table writes it
  std::optional<std::string> organization;  // the key as text; nullopt: none
  std::optional<std::string> name;
  // The host's expression fails on its row: nobody can say whose it is.
  bool organization_fails = false;
};

// Whether one row's values made an expression fail, also by the words of a function of the host.
bool IsOfOneRow(const pg::Error& error);

class ContainerDirectory {
 public:
  explicit ContainerDirectory(const Binding& binding);

  // The containers of these keys that exist.
  std::unordered_map<std::string, ContainerInfo> Find(const std::vector<std::string>& keys);
  // The same, with each row locked FOR KEY SHARE until the transaction ends; rows that somebody
  // else has locked against that are missing, so the caller tries them later.
  std::unordered_map<std::string, ContainerInfo> FindAndLock(const std::vector<std::string>& keys);
  // The keys of all that exist, as text.
  std::vector<std::string> AllKeyTexts() const;
  // The same as keys; at most so many.
  std::vector<std::string> Keys(uint64_t most) const;
  // Names of organizations by key as text; those whose name is NULL are not in it.
  std::unordered_map<std::string, std::string> OrganizationNames(
      const std::vector<std::string>& organizations);

 private:
  std::unordered_map<std::string, ContainerInfo> Run(bool lock,
                                                     const std::vector<std::string>& keys);

  std::unordered_map<std::string, ContainerInfo> RunOnReadable(
      bool lock, const std::vector<std::string>& keys);
  std::unordered_map<std::string, ContainerInfo> RunWithoutOrganization(bool lock,
                                                                        const std::string& key,
                                                                        int sqlstate);
  std::unordered_map<std::string, ContainerInfo> RunOnAll(bool lock,
                                                          const std::vector<std::string>& keys);
  void Respell(std::unordered_map<std::string, ContainerInfo>* found) const;

  void MakeLookup();
  // One container, without a statement. False: only the statement tells.
  bool LookUp(bool lock, const std::string& key,
              std::unordered_map<std::string, ContainerInfo>* found);

  const Binding& binding_;
  std::string name_;  // of the column that names containers; empty: none, or none any more
  Micros warned_at_ = kNoTime;
  std::array<std::optional<pg::Statement>, 4> find_;  // with locks or not, for one key or many
  std::optional<pg::KeyLookup> lookup_;               // where the organization is a column
  std::optional<pg::Statement> organization_names_;
  std::optional<pg::KeyLookup> organization_lookup_;
};

}  // namespace alerting::ext

#endif  // ALERTING_EXT_HOST_CONTAINER_DIRECTORY_H_
