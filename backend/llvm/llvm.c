#include "backend/codegen.h"
