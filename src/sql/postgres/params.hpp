// Parameters in PostgreSQL's binary formats.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sql/connection.hpp"

namespace dbos::sql::postgres {

/// Encoded parameters of one execution. Texts are views of the caller's. Reused to spare allocations.
class EncodedParams {
   public:
    void encode(const Params& params);

    int count() const noexcept { return static_cast<int>(types.size()); }

    std::vector<Oid> types;  // 0 for NULL: the type is left to the statement
    std::vector<const char*> values;
    std::vector<int> lengths;
    std::vector<int> formats;  // all binary

   private:
    void add(Oid type, const char* value, std::size_t length);
    void add_arena(Oid type, std::size_t start);
    template <class Array, class Append>
    void add_array(Oid type, Oid element, const Array& array, Append append);
    void append_u32(std::uint32_t number);
    void append_u64(std::uint64_t number);

    std::string arena_;
    std::vector<std::ptrdiff_t> offsets_;  // into the arena; -1 = a view or NULL
};

}  // namespace dbos::sql::postgres
