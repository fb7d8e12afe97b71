"""Phrases that are often asked of a satellite picture: embedded beforehand, so that they need no sentence encoder.

None of them is taught: they are read like any other phrase, only sooner.
"""

from __future__ import annotations

_COMMON = """
lakes; rivers; streams; ponds; sea; seas; the sea; oceans; seawater; lake water; river water; rivers and lakes;
lagoons; canals; reservoirs; dam; water reservoir; estuary; river delta; delta; coast; shore; shoreline; harbour;
harbor; port; dock; fjord; waterfall; pool; swimming pool; swimming pools; flood; floods; flooding; flooded area;
flood water; floodwater; muddy water; turbid water; clear water; algae; algal bloom; water hyacinth; aquaculture;
fish farm; fish ponds; shrimp ponds; irrigation canal; ditch; river bank; riverbed; wadi; spring; puddle;
permanent water; seasonal water; tree; a tree; forests; a forest; wood; woodlands; pine; pines; pine trees;
pine woods; oak; oak forest; oaks; beech; beech forest; birch; birch forest; spruce; spruce forest; fir; fir forest;
larch; eucalyptus; eucalyptus plantation; poplar; poplar plantation; palm; palm trees; palm oil plantation;
oil palm; rubber plantation; tree plantation; plantation; plantations; orchard; orchards; fruit trees; olive grove;
olive grove trees; olive trees; olives; almond trees; citrus grove; conifer forest; coniferous trees;
deciduous forest; deciduous woodland; evergreen forest; mangrove; mangrove forest; tropical rainforest;
primary forest; secondary forest; old forest; young forest; dense forest; open forest; degraded forest;
cleared forest; deforestation; logging; clear cut; clearcut; forest clearing; burnt forest; burnt area; burned area;
burn scar; fire scar; wildfire; park trees; street trees; hedge; hedges; hedgerow; riparian forest;
riparian vegetation; riverside trees; urban trees; vegetation; green vegetation; dense vegetation;
sparse vegetation; greenery; green; green area; green space; green spaces; plants; grass field; grass fields;
grasslands; grassy area; meadows; hay meadow; mountain meadow; alpine meadow; alpine grass; pastures; pastureland;
lawns; park; parks; city park; garden; gardens; public garden; golf; golf courses; football field; soccer field;
sports field; sports fields; stadium; playing field; airport; airfield; runway; savanna; savannah; steppes;
prairies; pampas; tundra; hills; green hills; hill; hillside; mountain; mountains; valley; ridge; slope; cliff;
cliffs; canyon; plateau; plain; volcano; lava; crater; marshes; swamps; bog; bogs; fens; peatland; peat; reeds;
reed; mire; wet meadow; wet meadows; salt marshes; mudflat; mudflats; tidal flat; tidal flats; mangrove swamp;
floodplain; flooded forest; flooded field; flooded fields; flooded crops; rice; rice paddy; rice paddies; paddy;
paddy field; paddy fields; paddies; rice field; rice fields; flooded rice; crop; field; fields; a field; farm;
farms; farm land; farming land; farm field; crop fields; crop land; crop lands; croplands; arable; arable fields;
cultivated area; cultivation; agricultural; agricultural area; agricultural field; wheat; wheat fields; corn field;
corn fields; cornfield; maize; maize field; maize fields; barley field; rye; oats; soy; soya; soybean; soybeans;
soybean field; sunflower; sunflowers; sunflower field; rapeseed; rapeseed field; canola; cotton; cotton field;
sugarcane; sugar cane; sugar beet; potatoes; potato field; vegetables; tobacco; tea; tea plantation;
coffee plantation; cocoa; banana plantation; bananas; vineyard; vineyards; grapes; hops; alfalfa; clover; fallow;
fallow land; fallow field; stubble; stubble field; plowed field; plowed fields; ploughed fields; ploughed land;
harvested crops; irrigated crops; irrigated land; irrigated field; center pivot irrigation; circular fields;
terraces; terraced fields; greenhouse; greenhouses; plastic greenhouses; livestock; cattle; shrub; shrublands;
scrubs; bushes and shrubs; heathland; heather; moor; moors; garrigue; macchia; matorral; fynbos; cerrado; caatinga;
bushveld; thickets; brush; thorn bushes; sagebrush; cactus; succession; abandoned land; overgrown field; house;
home; homes; roof; roofs; rooftop; built; built up; built-up; built-up land; buildings and roads;
apartment buildings; apartments; tower blocks; high-rise buildings; skyscraper; skyscrapers; office buildings;
commercial buildings; shopping mall; shops; supermarket; school; hospital; church; temple; mosque; castle; ruins;
cities; towns; villages; hamlet; suburbs; suburban area; urban; urban land; urban areas; city centre; city center;
downtown; neighbourhood; neighborhood; slum; slums; informal settlement; informal settlements; refugee camp; camp;
tents; human settlement; settlements; residential; residential areas; industry; industrial; industrial zone;
industrial buildings; factories; warehouse; warehouses; power plant; power station; nuclear power plant; refinery;
oil tanks; storage tanks; landfill; dump; waste dump; construction site; construction sites; road; a road;
dirt road; dirt track; paved road; gravel road; asphalt; concrete; pavement; motorway; freeway; highways; streets;
street network; path; track; railway; railways; railroad; railway station; train station; rail yard; bridge;
bridges; tunnel; parking; parking lots; car park; parked cars; square; plaza; impervious surface;
impervious surfaces; artificial surface; artificial surfaces; sealed surface; soils; dry soil; brown soil;
dark soil; red earth; brown earth; bare; bareland; bare field; bare fields; bare rocks; bare mountain; bare slopes;
barren; barren ground; barren soil; desert sand; deserts; rocky desert; sandy desert; dune; dunes; sand dune;
sandy beach; sandy beaches; beaches; sandbank; sandbar; sandbanks; rock; rocky ground; rocky slopes; rocky outcrop;
outcrop; stone; stones; boulders; scree; mine; mines; open pit mine; open-pit mine; mining; mining area; gravel pit;
sand pit; quarries; tailings; salt flat; salt flats; salt pan; salt; salt lake; dry lake; dry lakebed; dry lake bed;
dry riverbed; dry river; erosion; gully; landslide; landslides; mudslide; debris; dust; clay; mud; dried mud;
dirt ground; earth; land; ground; terrain; badlands; glaciers; ices; sea ice; lake ice; river ice; iceberg;
icebergs; ice floes; frozen lake; frozen river; snow field; snow fields; snow patch; snow patches; snowy mountain;
snowy mountains; snow-capped mountains; snow on trees; avalanche; permafrost; permanent ice; clouds; cloud cover;
white clouds; cloud shadows; shadow; shadows; haze; fog; mist; smoke plume; fires; cars; trucks; vehicle; vehicles;
ship; ships; boat; boats; vessel; vessels; plane; planes; airplanes; aircraft; trains; containers; containers port;
solar panels; solar farm; solar farms; photovoltaic panels; solar plant; wind turbines; wind farm; wind farms;
pylon; pylons; power line; power lines; antenna; satellite dish; pipeline; fence; people; person; crowd; cow; cows;
sheep; horses; cattle herd; tree trunk; roof tiles; swimming area; cemetery; zoo; theme park; amusement park;
playground; tennis court; tennis courts; basketball court; running track; racetrack; campsite; ski slope;
ski slopes; hotel; resort; military base; prison; university; campus; nature; wilderness; natural area; land cover;
everything else; other; others; background; nothing; unknown
"""

COMMON: tuple[str, ...] = tuple(dict.fromkeys(" ".join(phrase.split()) for phrase in _COMMON.split(";")))
"""Without one that stands twice."""
