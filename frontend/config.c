#include "ir/manifest.h"
