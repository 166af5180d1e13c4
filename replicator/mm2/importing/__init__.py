"""From a properties file of MirrorMaker 2 to the settings of a link."""
